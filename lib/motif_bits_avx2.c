/* With the processor's own count of bits, which these flags bring along. */
#include "motif_impl.h"

#if defined(__x86_64__)
#define MOTIF_BITS_NAME motif_bits_avx2
#include "motif_bits_body.h"
#endif
