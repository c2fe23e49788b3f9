/* A network address: as text, as bytes on the wire, as the system's structure. */
#include "base/addr.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"

static size_t ip_size(uint8_t family)
{
    return family == 4 ? 4 : family == 6 ? 16 : 0;
}

bool myco_addr_equal(const struct myco_addr *a, const struct myco_addr *b)
{
    return a->family == b->family && a->port == b->port &&
           memcmp(a->ip, b->ip, ip_size(a->family)) == 0;
}

static bool parse_port(const char *text, uint16_t *port)
{
    unsigned value = 0;
    size_t digits = 0;
    for (; text[digits] >= '0' && text[digits] <= '9' && digits < 6; digits++) {
        value = value * 10 + (unsigned)(text[digits] - '0');
    }
    if (digits == 0 || text[digits] != '\0' || value > UINT16_MAX) return false;
    *port = (uint16_t)value;
    return true;
}

static bool parse_ip(struct myco_addr *addr, const char *host, size_t size)
{
    char text[MYCO_ADDR_TEXT_MAX];
    bool bracketed = size >= 2 && host[0] == '[' && host[size - 1] == ']';
    if (bracketed) host++, size -= 2;
    if (size >= sizeof text) return false;
    memcpy(text, host, size);
    text[size] = '\0';

    addr->family = bracketed ? 6 : 4;
    if (bracketed) return inet_pton(AF_INET6, text, addr->ip) == 1;
    if (size == 0) return true; /* any: 0.0.0.0 */
    if (strcmp(text, "localhost") == 0) return memcpy(addr->ip, "\x7f\0\0\1", 4) != NULL;
    return inet_pton(AF_INET, text, addr->ip) == 1;
}

int myco_addr_parse(struct myco_addr *addr, const char *text, struct myco_err *err)
{
    *addr = (struct myco_addr){0};
    struct myco_addr parsed = {0};
    const char *colon = strrchr(text, ':');
    if (colon == NULL || strchr(colon, ']') != NULL) {
        return myco_err(err, MYCO_EINVAL, "address \"%.80s\": a port is missing (HOST:PORT)", text);
    }
    if (!parse_port(colon + 1, &parsed.port)) {
        return myco_err(
            err, MYCO_EINVAL, "address \"%.80s\": the port is a number up to 65535", text);
    }
    if (!parse_ip(&parsed, text, (size_t)(colon - text))) {
        return myco_err(err, MYCO_EINVAL,
            "address \"%.80s\": the host is an IPv4 address, an IPv6 address in [ ], or localhost",
            text);
    }
    *addr = parsed;
    return 0;
}

const char *myco_addr_text(const struct myco_addr *addr, char text[MYCO_ADDR_TEXT_MAX])
{
    char ip[INET6_ADDRSTRLEN] = "";
    if (addr->family == 4) {
        inet_ntop(AF_INET, addr->ip, ip, sizeof ip);
        snprintf(text, MYCO_ADDR_TEXT_MAX, "%s:%u", ip, addr->port);
    } else if (addr->family == 6) {
        inet_ntop(AF_INET6, addr->ip, ip, sizeof ip);
        snprintf(text, MYCO_ADDR_TEXT_MAX, "[%s]:%u", ip, addr->port);
    } else {
        snprintf(text, MYCO_ADDR_TEXT_MAX, "none");
    }
    return text;
}

/* family u8 (4, 6, 0), then, unless it is 0: the address in network order, the port u16. */
void myco_buf_addr(struct myco_buf *buf, const struct myco_addr *addr)
{
    size_t size = ip_size(addr->family);
    myco_buf_u8(buf, size > 0 ? addr->family : 0);
    if (size == 0) return;
    myco_buf_bytes(buf, addr->ip, size);
    myco_buf_u16(buf, addr->port);
}

struct myco_addr myco_read_addr(struct myco_reader *reader)
{
    struct myco_addr addr = {.family = myco_read_u8(reader)};
    size_t size = ip_size(addr.family);
    if (addr.family == 0) return addr;
    if (size == 0) reader->bad = true;
    struct myco_slice ip = myco_read_bytes(reader, size);
    addr.port = myco_read_u16(reader);
    if (reader->bad) return (struct myco_addr){0};
    memcpy(addr.ip, ip.data, size);
    return addr;
}

size_t myco_addr_to_sockaddr(const struct myco_addr *addr, void *storage)
{
    if (addr->family == 4) {
        struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(addr->port)};
        memcpy(&v4.sin_addr, addr->ip, 4);
        memcpy(storage, &v4, sizeof v4);
        return sizeof v4;
    }
    if (addr->family == 6) {
        struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons(addr->port)};
        memcpy(&v6.sin6_addr, addr->ip, 16);
        memcpy(storage, &v6, sizeof v6);
        return sizeof v6;
    }
    return 0;
}

/* What a socket for both families shows as ::ffff:1.2.3.4 is 1.2.3.4 to us. */
static void unmap_v4(struct myco_addr *addr)
{
    static const uint8_t prefix[12] = {[10] = 0xff, [11] = 0xff};
    if (memcmp(addr->ip, prefix, sizeof prefix) != 0) return;
    memmove(addr->ip, addr->ip + 12, 4);
    memset(addr->ip + 4, 0, 12);
    addr->family = 4;
}

bool myco_addr_from_sockaddr(struct myco_addr *addr, const void *sockaddr)
{
    *addr = (struct myco_addr){0};
    sa_family_t family;
    memcpy(&family, (const char *)sockaddr + offsetof(struct sockaddr, sa_family), sizeof family);
    if (family == AF_INET) {
        struct sockaddr_in v4;
        memcpy(&v4, sockaddr, sizeof v4);
        addr->family = 4;
        addr->port = ntohs(v4.sin_port);
        memcpy(addr->ip, &v4.sin_addr, 4);
        return true;
    }
    if (family == AF_INET6) {
        struct sockaddr_in6 v6;
        memcpy(&v6, sockaddr, sizeof v6);
        addr->family = 6;
        addr->port = ntohs(v6.sin6_port);
        memcpy(addr->ip, &v6.sin6_addr, 16);
        unmap_v4(addr);
        return true;
    }
    return false;
}
