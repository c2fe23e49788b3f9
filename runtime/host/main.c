/* The program `mycorrizal`: which subcommand is meant. */
#include <stdio.h>
#include <string.h>

#include "base/option.h"
#include "base/seal.h"
#include "bridge/bridge.h"
#include "host/backup.h"
#include "host/lua_path.h"
#include "host/run.h"
#include "mycorrizal.h"

#if __has_include("host/sim.h")
#include "host/recover.h"
#include "host/sim.h"
#define HAS_SIM 1
#else
#define HAS_SIM 0
#endif

static int lua_main(int argc, char **argv)
{
    char lua_path[MYCO_LUA_PATH_MAX];
    struct myco_err err = {0};
    if (argc < 1 || strcmp(argv[0], "--help") == 0) {
        fprintf(argc < 1 ? stderr : stdout,
            "usage: mycorrizal lua FILE [ARGUMENT…]\n\n"
            "Runs a Lua program with luv and the layer `mycorrizal`; - is stdin.\n");
        return argc < 1 ? MYCO_EXIT_USAGE : MYCO_EXIT_OK;
    }
    if (myco_lua_path(NULL, lua_path, &err) < 0) return myco_complain(&err);
    return myco_bridge_main(lua_path, argv[0], argc - 1, argv + 1);
}

static int keygen_main(int argc, char **argv)
{
    bool help = argc > 0 && (strcmp(argv[0], "--help") == 0 || strcmp(argv[0], "-h") == 0);
    if (argc > 0) {
        fprintf(help ? stdout : stderr,
            "usage: mycorrizal keygen\n\n"
            "Prints a new key that seals gossip: a secret, the same for all nodes of a cluster.\n\n"
            "    (umask 077; mycorrizal keygen > cluster.key)\n"
            "    mycorrizal run --key cluster.key …\n");
        return help ? MYCO_EXIT_OK : MYCO_EXIT_USAGE;
    }
    struct myco_seal_key key;
    char text[MYCO_SEAL_TEXT_MAX];
    myco_seal_key_random(&key);
    myco_seal_key_text(&key, text);
    printf("%s\n", text);
    return MYCO_EXIT_OK;
}

static const struct command {
    const char *name;
    int (*main)(int argc, char **argv);
    const char *doc;
} commands[] = {
    {"run", myco_run_main, "run a node until SIGTERM or SIGINT"},
    {"check", myco_check_main, "read a configuration and say what is wrong with it"},
#if HAS_SIM
    {"sim", myco_sim_main, "run a whole cluster in one process, on a clock and a network of dice"},
#endif
#if HAS_SIM
    {"recover", myco_recover_main, "make a cluster anew around one survivor of a lost majority"},
#endif
    {"backup", myco_backup_main, "list and verify what an object store holds"},
    {"restore", myco_restore_main, "a point in time of an object store for the next cluster"},
    {"keygen", keygen_main, "print a new key that seals gossip"},
    {"lua", lua_main, "run a Lua program with the layer `mycorrizal`"},
};
#define COMMAND_COUNT (sizeof commands / sizeof *commands)

static void print_usage(FILE *file)
{
    fprintf(file, "usage: mycorrizal COMMAND [OPTION…]\n\n");
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        fprintf(file, "  %-8s%s\n", commands[i].name, commands[i].doc);
    }
    fprintf(
        file, "\nmycorrizal COMMAND --help says more; mycorrizal --version which one this is.\n");
}

static int unknown_command(const char *name)
{
    const char *names[COMMAND_COUNT + 1] = {NULL};
    for (size_t i = 0; i < COMMAND_COUNT; i++) names[i] = commands[i].name;
    const char *nearest = myco_nearest(names, name);
    fprintf(stderr, "mycorrizal: there is no command \"%s\"", name);
    if (nearest != NULL) fprintf(stderr, ": did you mean \"%s\"?", nearest);
    fprintf(stderr, "\ntry: mycorrizal --help\n");
    return MYCO_EXIT_USAGE;
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        print_usage(stderr);
        return MYCO_EXIT_USAGE;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
        print_usage(stdout);
        return MYCO_EXIT_OK;
    }
    if (strcmp(argv[1], "--version") == 0) {
        printf("mycorrizal %s\n", myco_version());
        return MYCO_EXIT_OK;
    }
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        if (strcmp(commands[i].name, argv[1]) == 0) return commands[i].main(argc - 2, argv + 2);
    }
    return unknown_command(argv[1]);
}
