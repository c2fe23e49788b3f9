/* What a node can be told, once: names, types, limits, defaults and words. */
#include "host/options.h"

#include <string.h>

#include "base/addr.h"
#include "host/core_chronicle.h"
#include "host/join.h"

#define NODE(field) MYCO_OPTION_AT(struct myco_run_options, node.field)
#define RUN(field)  MYCO_OPTION_AT(struct myco_run_options, field)

#define NAME_SIZE_MAX 63
#define NAME_CHARS                                                                                 \
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"                               \
    "_.-"

static int check_addr(const char *value, struct myco_err *err)
{
    struct myco_addr addr;
    return myco_addr_parse(&addr, value, err);
}

static int check_name(const char *value, struct myco_err *err)
{
    size_t size = strlen(value);
    if (size > 0 && size <= NAME_SIZE_MAX && strspn(value, NAME_CHARS) == size) return 0;
    return myco_err(err, MYCO_EINVAL,
        "\"%.80s\" is not a name: 1 to %d letters, digits, dots, dashes and underscores", value,
        NAME_SIZE_MAX);
}

static int check_label(const char *value, struct myco_err *err)
{
    const char *equals = strchr(value, '=');
    if (equals != NULL && equals > value && equals[1] != '\0') return 0;
    return myco_err(err, MYCO_EINVAL, "\"%.80s\" is not a label: write KEY=VALUE", value);
}

static int check_store(const char *value, struct myco_err *err)
{
    size_t scheme_size = strspn(value, "abcdefghijklmnopqrstuvwxyz0123456789-");
    if (scheme_size > 0 && value[scheme_size] == ':' && value[scheme_size + 1] != '\0') return 0;
    return myco_err(err, MYCO_EINVAL, "\"%.80s\" is not a store: file:DIR or s3://…", value);
}

const struct myco_option myco_run_options[] = {
    {"config", MYCO_OPTION_TEXT, RUN(config), .hint = "FILE.lua",
        .doc = "configuration; what is written here on the command line goes before it"},
    {"name", MYCO_OPTION_TEXT, NODE(name), .check = check_name, .hint = "NAME",
        .doc = "of this node, unique in the cluster", .shown = "the host's name"},
    {"cluster", MYCO_OPTION_TEXT, NODE(cluster), .initial = "default", .check = check_name,
        .hint = "NAME", .doc = "nodes of other clusters are refused"},
    {"listen", MYCO_OPTION_TEXT, NODE(listen), .initial = "127.0.0.1:0", .check = check_addr,
        .hint = "HOST:PORT", .doc = "for peers, TCP and UDP; port 0 is any free one"},
    {"advertise", MYCO_OPTION_TEXT, NODE(advertise), .check = check_addr, .hint = "HOST:PORT",
        .doc = "what peers dial, when it is not what is listened on"},
    {"admin", MYCO_OPTION_TEXT, NODE(admin), .check = check_addr, .hint = "HOST:PORT",
        .doc = "for pulse, over TCP", .shown = "only a Unix socket in the data folder"},
    {"join", MYCO_OPTION_LIST, NODE(join), .check = myco_join_check, .hint = "HOST:PORT,…",
        .doc = "where to look for the cluster: addresses, dns:NAME, srv:NAME, "
               "multicast:GROUP:PORT, consul:URL, store:, policy:FILE.lua"},
    {"expect", MYCO_OPTION_U64, NODE(expect), .hint = "N", .max = 4096,
        .doc = "form the cluster once N new nodes have met",
        .shown = "1 without --join, else never"},
    {"data", MYCO_OPTION_TEXT, NODE(data), .hint = "DIR", .doc = "what this node keeps",
        .shown = "NAME.myco"},
    {"store", MYCO_OPTION_TEXT, NODE(store), .check = check_store, .hint = "URL",
        .doc = "object store: file:DIR or s3://…", .shown = "none"},
    {"labels", MYCO_OPTION_LIST, NODE(labels), .check = check_label, .hint = "KEY=VALUE,…",
        .doc = "for policies, such as zone=a"},
    {"tls", MYCO_OPTION_TEXT, NODE(tls), .hint = "DIR",
        .doc = "ca.pem, node.pem and node.key, for TLS between peers", .shown = "no TLS"},
    {"key", MYCO_OPTION_TEXT, NODE(key), .hint = "FILE",
        .doc = "keys that seal gossip, one a line: the first seals, all open",
        .shown = "gossip is not sealed"},
    {"store_key", MYCO_OPTION_TEXT, NODE(store_key), .hint = "FILE",
        .doc = "keys that seal what goes into the store, one a line, or env:NAME: the first seals, "
               "all open",
        .shown = "the store is not sealed"},
    {"module", MYCO_OPTION_LIST, RUN(modules), .check = check_name, .hint = "NAME",
        .doc = "to load, besides those of the configuration; may be there several times"},
    {"timeout", MYCO_OPTION_DURATION, NODE(timeout_ms), .initial = "5s", .min = 1,
        .doc = "default deadline of every call"},
    {"lease", MYCO_OPTION_DURATION, NODE(lease_ms), .initial = "300ms", .min = 50, .max = 60000,
        .doc = "of all that a node leads; only counts when the cluster is formed"},
    {"value_size_max", MYCO_OPTION_SIZE, NODE(value_size_max), .initial = "8MiB", .min = 1024,
        .max = MYCO_VALUE_SIZE_MAX, .doc = "of one value"},
    {"lua_path", MYCO_OPTION_TEXT, NODE(lua_path), .hint = "DIR", .doc = "folder of the Lua layer",
        .shown = "$MYCORRIZAL_LUA, or where it is installed"},
    {"no_lua", MYCO_OPTION_BOOL, NODE(no_lua),
        .doc = "neither Lua nor pulse: the built-in policies, and no configuration of septa or "
               "modules"},
    {"events_max", MYCO_OPTION_U64, NODE(events_max), .hint = "N", .min = 16,
        .max = MYCO_EVENTS_MAX, .doc = "events kept in memory for pulse events", .shown = "4096"},
    {"log", MYCO_OPTION_CHOICE, NODE(log_level), .initial = "info",
        .choices = "trace,debug,info,warn,error,off", .hint = "LEVEL", .doc = "on stderr"},
    {"log_format", MYCO_OPTION_CHOICE, RUN(log_format), .initial = "text", .choices = "text,json",
        .hint = "FORMAT", .doc = "one line for each event"},
    {0}};

void myco_run_options_init(struct myco_run_options *options)
{
    *options = (struct myco_run_options){.node = MYCO_OPTIONS_INIT};
    myco_options_init(myco_run_options, options);
}

int myco_run_options_from_config(
    const char *name, const char *value, struct myco_err *err, void *data)
{
    const struct myco_option *option = myco_options_find(myco_run_options, name);
    if (option != NULL && strcmp(option->name, "config") == 0) {
        return myco_err(err, MYCO_EINVAL, "option config is for the command line");
    }
    if (option != NULL && strcmp(option->name, "module") == 0) {
        return myco_err(
            err, MYCO_EINVAL, "option module is for the command line: write modules = { … }");
    }
    if (strcmp(name, "log_level") == 0) name = "log"; /* as it is called in Lua and C */
    return myco_options_set(myco_run_options, data, name, value, err);
}
