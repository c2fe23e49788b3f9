/* Strings as JSON, for the one line a program prints, and for the log. */
#ifndef MYCO_BASE_JSON_H
#define MYCO_BASE_JSON_H

#include "base/buf.h"

/* Quotes and escapes; what is not UTF-8 becomes U+FFFD. */
void myco_buf_json(struct myco_buf *buf, const char *text, size_t size);

#endif
