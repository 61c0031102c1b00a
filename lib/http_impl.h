/* What the modules http and http_api share. */
#ifndef R1_HTTP_IMPL_H
#define R1_HTTP_IMPL_H

#include "err.h"

int http_is_https(const char *url);
/* -1 ERR_USAGE unless url is http or https, names a host and no user. shown
 * stands for it in messages. */
int http_check_url(const char *url, const char *shown, struct err *e);

#endif
