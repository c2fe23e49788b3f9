/* `mycorrizal sim`: the command, its options, and its seeds, one after the other. */
#include "host/sim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/err.h"
#include "base/text.h"
#include "host/lua_path.h"
#include "host/sim_world.h"

#define LINE_MAX_SIZE 512
#define WORDS_MAX     32

struct command {
    struct sim_options options;
    uint64_t seeds;
    bool twice, lua, failover, scale;
    const char *file;
    char folder[MYCO_LUA_PATH_MAX + 32]; /* of the policies */
};

struct tally {
    uint64_t passed, failed;
};

static int usage(FILE *file)
{
    fputs("usage: mycorrizal sim [--seed S] [--seeds N] [--nodes N] [--seconds T] [--no-faults]\n"
          "                      [--disk-faults] [--all-faults] [--no-store] [--no-restore] "
          "[--no-lua]\n"
          "                      [--twice] [--trace] [--quiet] [--file FILE] [--failover] [--kills "
          "N]\n"
          "                      [--scale] [--topology NAME] [--object] [--starved MS]\n\n"
          "Runs a cluster of whole nodes in virtual time on a network and disks that fail, and "
          "checks that nothing\n"
          "acknowledged is lost, no two nodes hold the same at once, and every history is "
          "linearizable.\n"
          "The same seed gives the same run, to the byte.\n\n"
          "  --seed S       the first seed (1)\n"
          "  --seeds N      how many, one after the other (1)\n"
          "  --nodes N      1 to 64 (3)\n"
          "  --seconds T    of virtual time with faults (30)\n"
          "  --no-faults    nothing fails\n"
          "  --disk-faults  disks are slow, full, broken and rotten, too\n"
          "  --all-faults   these, and: partial partitions, links that flap and break, storms of "
          "datagrams, sleeping\n"
          "                 machines, wrong bits from the store; nodes leave, policies change, "
          "restores are disturbed\n"
          "  --starved MS   nothing fails, but one host stands still for up to MS again and again: "
          "it is not to be\n"
          "                 declared dead, and with MS up to a third of the lease no lease is "
          "lost\n"
          "  --no-store     without an object store\n"
          "  --no-restore   the nodes do not lose everything at the end\n"
          "  --no-lua       the built-in rules instead of the Lua policies\n"
          "  --topology NAME  a topology policy, in force from the beginning; with odd seeds it\n"
          "                 places voters, too\n"
          "  --twice        each seed twice; the traces must be equal\n"
          "  --trace        print the end of the trace also when all is well\n"
          "  --quiet        one line for each seed\n"
          "  --file FILE    each line of FILE is options of a run (# begins a comment)\n"
          "  --object       only a septum with level=object, and the loss of all nodes at any "
          "instant\n"
          "  --failover     how long a killed leader or primary is missed, over --kills (200)\n"
          "  --scale        --nodes (to 4096) form a cluster, idle for --seconds, and are all "
          "started "
          "again at once:\n"
          "                 connections and bytes of each, and times, as text and as one line of "
          "JSON\n",
        file);
    return file == stderr ? 2 : 0;
}

static bool parse_flag(struct command *command, const char *word)
{
    struct sim_options *options = &command->options;
    const struct {
        const char *word;
        bool *flag, value;
    } flags[] = {{"--no-faults", &options->faults, false},
        {"--disk-faults", &options->disk_faults, true},
        {"--all-faults", &options->all_faults, true}, {"--no-store", &options->store, false},
        {"--no-restore", &options->restore, false}, {"--no-lua", &command->lua, false},
        {"--twice", &command->twice, true}, {"--trace", &options->trace, true},
        {"--quiet", &options->quiet, true}, {"--failover", &command->failover, true},
        {"--object", &options->object, true}, {"--scale", &command->scale, true}};
    for (size_t i = 0; i < sizeof flags / sizeof *flags; i++) {
        if (strcmp(flags[i].word, word) != 0) continue;
        *flags[i].flag = flags[i].value;
        return true;
    }
    return false;
}

static bool parse_number(struct command *command, const char *word, uint64_t number)
{
    struct sim_options *options = &command->options;
    if (strcmp(word, "--seed") == 0)
        options->seed = number;
    else if (strcmp(word, "--seeds") == 0)
        command->seeds = number;
    else if (strcmp(word, "--nodes") == 0 && number >= 1 && number <= MYCO_SIM_HOSTS_MAX)
        options->nodes = (unsigned)number;
    else if (strcmp(word, "--seconds") == 0 && number <= 86400)
        options->seconds = (unsigned)number;
    else if (strcmp(word, "--starved") == 0 && number >= 1 && number <= 10000)
        options->starved_ms = (unsigned)number;
    else if (strcmp(word, "--kills") == 0 && number >= 1 && number <= 100000)
        options->kills = (unsigned)number;
    else
        return false;
    return true;
}

static bool parse(struct command *command, int argc, char **argv)
{
    for (int i = 0; i < argc; i++) {
        uint64_t number = 0;
        if (parse_flag(command, argv[i])) continue;
        if (i + 1 == argc) return false;
        if (strcmp(argv[i], "--file") == 0)
            command->file = argv[++i];
        else if (strcmp(argv[i], "--topology") == 0)
            command->options.topology = argv[++i];
        else if (myco_text_u64(argv[i + 1], &number, NULL) ||
                 !parse_number(command, argv[i], number))
            return false;
        else
            i++;
    }
    command->options.disk_faults |= command->options.all_faults;
    if (command->options.starved_ms) command->options.faults = false;
    return command->scale || command->options.nodes <= SIM_NODES_MAX;
}

/* ── seeds ── */

static void run_seed(const struct sim_options *options, struct sim_outcome *outcome)
{
    if (options->object)
        sim_object_run_seed(options, outcome);
    else
        sim_run_seed(options, outcome);
}

static bool run_twice(const struct sim_options *options, const struct sim_outcome *first)
{
    struct sim_options again = *options;
    struct sim_outcome second;
    again.quiet = true;
    run_seed(&again, &second);
    if (second.ok && first->hash == second.hash) return true;
    fprintf(stderr, "sim: seed %llu: VIOLATION two runs differ: %016llx and %016llx\n",
        (unsigned long long)options->seed, (unsigned long long)first->hash,
        (unsigned long long)second.hash);
    return false;
}

static void run_one(const struct command *command, struct tally *tally)
{
    struct sim_outcome outcome;
    struct timespec from, to;
    clock_gettime(CLOCK_MONOTONIC, &from);
    run_seed(&command->options, &outcome);
    clock_gettime(CLOCK_MONOTONIC, &to);
    bool ok = outcome.ok && (!command->twice || run_twice(&command->options, &outcome));
    long ms = (to.tv_sec - from.tv_sec) * 1000 + (to.tv_nsec - from.tv_nsec) / 1000000;
    printf("seed %llu: %s  trace %016llx  events %llu  virtual %llu ms  real %ld ms\n",
        (unsigned long long)command->options.seed, ok ? "ok" : "FAILED",
        (unsigned long long)outcome.hash, (unsigned long long)outcome.events,
        (unsigned long long)outcome.virtual_ms, ms);
    fflush(stdout);
    tally->passed += ok;
    tally->failed += !ok;
}

static void run_all(struct command *command, struct tally *tally)
{
    for (uint64_t n = 0; n < command->seeds; n++, command->options.seed++) run_one(command, tally);
}

static int find_policies(struct command *command)
{
    char lua_path[MYCO_LUA_PATH_MAX];
    struct myco_err err = {0};
    command->options.lua_path = NULL;
    if (!command->lua) return 0;
    if (myco_lua_path(NULL, lua_path, &err)) return myco_complain(&err);
    snprintf(command->folder, sizeof command->folder, "%s/mycorrizal/policy", lua_path);
    command->options.lua_path = command->folder;
    return 0;
}

static bool parse_line(struct command *command, char *line)
{
    char *words[WORDS_MAX], *rest = line, *word;
    int count = 0;
    line[strcspn(line, "#\r\n")] = 0;
    while (count < WORDS_MAX && (word = strtok_r(rest, " \t", &rest))) words[count++] = word;
    command->seeds = count > 0;
    return parse(command, count, words) && !command->file && !command->failover && !command->scale;
}

static int run_file(const struct command *defaults, struct tally *tally)
{
    char line[LINE_MAX_SIZE];
    FILE *file = fopen(defaults->file, "r");
    int rc = 0;
    if (!file) {
        struct myco_err err = {0};
        myco_err(&err, MYCO_ENOTFOUND, "can't open %s", defaults->file);
        return myco_complain(&err);
    }
    while (rc == 0 && fgets(line, sizeof line, file)) {
        struct command command = *defaults;
        char shown[LINE_MAX_SIZE];
        command.file = NULL;
        command.options.quiet = true;
        snprintf(shown, sizeof shown, "%s", line);
        if (!parse_line(&command, line)) {
            fprintf(stderr, "sim: %s: not options of a run: %s", defaults->file, shown);
            rc = 2;
        } else if (command.seeds && (rc = find_policies(&command)) == 0) {
            run_all(&command, tally);
        }
    }
    fclose(file);
    return rc;
}

int myco_sim_main(int argc, char **argv)
{
    struct command command = {.seeds = 1, .lua = true};
    struct tally tally = {0};
    command.options = (struct sim_options){.seed = 1,
        .nodes = 3,
        .seconds = 30,
        .kills = 200,
        .faults = true,
        .store = true,
        .restore = true};
    if (argc > 0 && strcmp(argv[0], "--help") == 0) return usage(stdout);
    if (!parse(&command, argc, argv)) return usage(stderr);
    if (command.scale && !command.options.topology) return sim_scale(&command.options);
    int rc = command.file ? run_file(&command, &tally) : find_policies(&command);
    if (rc) return rc;
    if (command.scale) return sim_scale(&command.options);
    if (command.failover) return sim_failover(&command.options);
    if (!command.file) run_all(&command, &tally);
    printf("%llu passed, %llu failed\n", (unsigned long long)tally.passed,
        (unsigned long long)tally.failed);
    return tally.failed ? 1 : 0;
}
