/* HTTP by libcurl's multi interface on the node's loop: no thread, no blocking. */
#ifndef MYCO_S3_CURL_H
#define MYCO_S3_CURL_H

#include <uv.h>

#include "mycorrizal.h"
#include "s3/http.h"

struct myco_curl_options {
    const char *ca;         /* file of certificates to trust instead of the system's; NULL */
    unsigned connections;   /* at once; more requests wait their turn; 0: 16 */
    const char *user_agent; /* NULL: "mycorrizal/VERSION" */
};

/* *http is given. ENOMEM; ENOTFOUND: the file of `ca` can't be read. */
int myco_curl_open(uv_loop_t *loop, const struct myco_curl_options *options,
    struct myco_http **http, struct myco_err *err);
/* Cancels what is under way (no callbacks), and frees it all; `closed` runs once the loop let go of
 * it. */
void myco_curl_close(struct myco_http *http, void (*closed)(void *data), void *data);

#endif
