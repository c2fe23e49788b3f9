/* HTTP requests to a server: the port that object stores speak through. Implementations: curl.h
 * (libcurl on the loop), and fakes in tests. Loop thread only. */
#ifndef MYCO_S3_HTTP_H
#define MYCO_S3_HTTP_H

#include "base/buf.h"

/* Lent by the request for the call; names in any case. */
struct myco_http_header {
    const char *name, *value;
};

struct myco_http_request {
    const char *method; /* "GET", "PUT", "HEAD", … */
    const char *url;    /* whole, encoded as it shall be sent; nothing is changed in it */
    const struct myco_http_header *headers;
    size_t header_count;
    struct myco_slice body; /* copied */
    unsigned timeout_ms;    /* of the whole request; 0: 60,000 */
    size_t answer_max;      /* larger bodies end as ETOOBIG; 0: 64 MiB */
};

/* What came of it. `status` 0 and `error` a negative MYCO_E… when there was no whole answer: the
 * request may have been carried out unless `unsent`. */
struct myco_http_answer {
    int status; /* 200, 404, … */
    int error; /* ENOTCONN: not reached; ETIMEDOUT; EDENIED: TLS refused the server; EIO; ETOOBIG */
    bool unsent;
    const char *message;   /* of an error, for people */
    struct myco_buf *body; /* may be moved away */
    /* NULL: not there; lends. Set by the implementation, asked by myco_http_header(). */
    const char *(*header)(const struct myco_http_answer *answer, const char *name);
};
typedef void (*myco_http_cb)(const struct myco_http_answer *answer, void *data);

struct myco_http;
struct myco_http_ops {
    /* The callback runs once, later, unless it is cancelled. The handle lives until then. */
    void *(*send)(struct myco_http *http, const struct myco_http_request *request, myco_http_cb cb,
        void *data);
    void (*cancel)(struct myco_http *http, void *handle); /* no callback; may yet be carried out */
};
struct myco_http {
    const struct myco_http_ops *ops;
};

#endif
