#ifdef __AVX2__

#define TENSOR_ROWS_BODY
#include "tensor.h"
#include "tensor_rows.h"

tensor_rows_fn *const tensor_rows_avx2[DT_N + 1] = TENSOR_ROWS_TABLE;
const struct tensor_back tensor_back_avx2 = TENSOR_BACK;

#else

typedef int tensor_avx2_is_empty_here;

#endif
