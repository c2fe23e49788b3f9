/* A network address and port, independent of the system's structures. */
#ifndef MYCO_BASE_ADDR_H
#define MYCO_BASE_ADDR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

#define MYCO_ADDR_TEXT_MAX 64

struct myco_addr {
    uint8_t ip[16]; /* IPv4 in the first four bytes */
    uint16_t port;  /* host order */
    uint8_t family; /* 4, 6 or 0: none */
};

bool myco_addr_equal(const struct myco_addr *a, const struct myco_addr *b);
/* "1.2.3.4:80", "[::1]:80", ":80" (any), "localhost:80" (127.0.0.1). No other names: those are
 * resolved by discovery. */
int myco_addr_parse(struct myco_addr *addr, const char *text, struct myco_err *err);
const char *myco_addr_text(const struct myco_addr *addr, char text[MYCO_ADDR_TEXT_MAX]);
void myco_buf_addr(struct myco_buf *buf, const struct myco_addr *addr);
struct myco_addr myco_read_addr(struct myco_reader *reader);
/* struct sockaddr_in or _in6 and back; `storage` holds at least sizeof(struct sockaddr_storage). */
size_t myco_addr_to_sockaddr(const struct myco_addr *addr, void *storage);
bool myco_addr_from_sockaddr(struct myco_addr *addr, const void *sockaddr);

#endif
