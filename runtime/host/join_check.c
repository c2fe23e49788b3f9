/* How the places of the option `join` are written: which sources there are, and what each wants. */
#include <stdlib.h>
#include <string.h>

#include "base/addr.h"
#include "host/join.h"

#define PLACE_MAX 1024
#define NAME_CHARS                                                                                 \
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"                               \
    "_.-"
#define COMMON "every timeout " /* of every source */

static int wrong(struct myco_err *err, const char *place, const char *right)
{
    return myco_err(err, MYCO_EINVAL, "'%.200s' is not %s", place, right);
}

static bool port_ok(const char *text)
{
    size_t size = strlen(text);
    if (size == 0 || size > 5 || strspn(text, "0123456789") != size) return false;
    long port = strtol(text, NULL, 10);
    return port > 0 && port <= 65535;
}

static bool name_ok(const char *text, size_t size)
{
    return size > 0 && size < 254 && strspn(text, NAME_CHARS) >= size;
}

static bool host_port_ok(const char *address)
{
    struct myco_addr addr;
    const char *colon = strrchr(address, ':');
    if (!colon || !port_ok(colon + 1)) return false;
    return myco_addr_parse(&addr, address, NULL) == 0 ||
           name_ok(address, (size_t)(colon - address));
}

static bool dns_ok(const char *address)
{
    const char *colon = strchr(address, ':');
    if (colon && !port_ok(colon + 1)) return false;
    return name_ok(address, colon ? (size_t)(colon - address) : strlen(address));
}

static bool srv_ok(const char *address)
{
    return name_ok(address, strlen(address));
}

static bool multicast_ok(const char *address)
{
    struct myco_addr addr;
    if (myco_addr_parse(&addr, address, NULL) || !addr.port) return false;
    return addr.family == 4 ? addr.ip[0] >> 4 == 14 : addr.ip[0] == 0xff;
}

static bool consul_ok(const char *address)
{
    if (strncmp(address, "http://", 7) != 0) return false;
    const char *slash = strchr(address + 7, '/');
    if (!slash || slash == address + 7) return false;
    return slash[1] && !strchr(slash + 1, '/') && name_ok(slash + 1, strlen(slash + 1));
}

static bool store_ok(const char *address)
{
    return !*address;
}

static bool policy_ok(const char *address)
{
    return *address != '\0';
}

static const struct {
    const char *scheme, *options; /* each followed by a blank; NULL: the file says */
    bool (*ok)(const char *address);
    const char *right;
} sources[] = {
    {"static", "server ", host_port_ok, "static:HOST:PORT"},
    {"dns", "port server ", dns_ok, "dns:NAME or dns:NAME:PORT"},
    {"srv", "server ", srv_ok, "srv:NAME, such as srv:_mycorrizal._tcp.shop.internal"},
    {"multicast", "interface ttl wait ", multicast_ok,
        "multicast:GROUP:PORT, such as multicast:239.7.9.46:7946"},
    {"consul", "address dc tag token_file ", consul_ok,
        "consul:http://HOST:PORT/SERVICE (TLS is not spoken here: use the agent on this machine)"},
    {"store", "stale ", store_ok, "store: alone; the place is that of the option store"},
    {"policy", NULL, policy_ok, "policy:FILE.lua"},
};
#define SOURCE_COUNT (sizeof sources / sizeof *sources)

static int find_source(const char *place)
{
    for (size_t i = 0; i < SOURCE_COUNT; i++) {
        size_t size = strlen(sources[i].scheme);
        if (strncmp(place, sources[i].scheme, size) == 0 && place[size] == ':') return (int)i;
    }
    return -1;
}

bool myco_join_is_source(const char *place)
{
    return find_source(place) >= 0;
}

static bool listed(const char *names, const char *name, size_t size)
{
    for (const char *at = names; *at; at = strchr(at, ' ') + 1)
        if (strcspn(at, " ") == size && strncmp(at, name, size) == 0) return true;
    return false;
}

/* "every=30s&tag=eu": the names; what they are set to is checked by the source itself. */
static int check_options(size_t source, const char *text, struct myco_err *err)
{
    const char *known = sources[source].options;
    for (const char *at = text; *at; at += *at == '&') {
        size_t size = strcspn(at, "&"), name = strcspn(at, "=&");
        if (name == 0 || name == size)
            return myco_err(err, MYCO_EINVAL, "'%.*s' is not OPTION=VALUE", (int)size, at);
        if (known && !listed(COMMON, at, name) && !listed(known, at, name))
            return myco_err(err, MYCO_EINVAL, "%s: has no option '%.*s'; it has: " COMMON "%s",
                sources[source].scheme, (int)name, at, known);
        at += size;
    }
    return 0;
}

static int check_place(const char *place, struct myco_err *err)
{
    char address[PLACE_MAX];
    int source = find_source(place);
    if (source < 0)
        return host_port_ok(place)
                   ? 0
                   : wrong(err, place,
                         "HOST:PORT, nor does it begin with static: dns: srv: multicast: consul: "
                         "store: policy:");
    const char *rest = strchr(place, ':') + 1;
    size_t size = strcspn(rest, "?");
    memcpy(address, rest, size);
    address[size] = 0;
    if (!sources[source].ok(address)) return wrong(err, place, sources[source].right);
    return rest[size] ? check_options((size_t)source, rest + size + 1, err) : 0;
}

/* Blanks around it are what a list may have after its commas. */
int myco_join_check(const char *place, struct myco_err *err)
{
    char text[PLACE_MAX];
    place += strspn(place, " ");
    size_t size = strlen(place);
    while (size > 0 && place[size - 1] == ' ') size--;
    if (size >= sizeof text)
        return myco_err(err, MYCO_EINVAL, "a place has %d characters at most", PLACE_MAX - 1);
    memcpy(text, place, size);
    text[size] = 0;
    return check_place(text, err);
}

int myco_join_check_all(const char *join, const char *store, bool no_lua, struct myco_err *err)
{
    char place[PLACE_MAX];
    for (const char *at = join ? join : ""; *at; at += strspn(at, ", ")) {
        size_t size = strcspn(at, ", ");
        if (size >= sizeof place) return myco_err(err, MYCO_EINVAL, "join: a place is too long");
        memcpy(place, at, size);
        place[size] = 0;
        at += size;
        int rc = size ? myco_join_check(place, err) : 0;
        if (rc) return myco_err_wrap(err, "join");
        if (find_source(place) < 0) continue;
        if (no_lua)
            return myco_err(
                err, MYCO_EINVAL, "join: '%s' is looked up by Lua, and no_lua is set", place);
        if (strncmp(place, "store:", 6) == 0 && (!store || !*store))
            return myco_err(err, MYCO_EINVAL,
                "join: 'store:' is the node's object store, and the option store is not set");
    }
    return 0;
}
