/* linear under DEV_Q16: what test_dev_q8.c asks of DEV_Q8, and DEV_NEAR's promise. */
#define PLANES 2
#include "test_dev_q8.c"
