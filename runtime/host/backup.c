/* `mycorrizal backup list|verify` and `mycorrizal restore`: looks at an object store as it is, and
 * makes a point in time of it what the next cluster starts from.
 *
 * A restore copies every object that the chosen manifest names under new names (what was dropped is
 * never named again, and may be on its way out), claims the next incarnation, seals all chains of
 * manifests, and writes one manifest of its own. A cluster that still writes there is fenced by
 * that. The next cluster whose nodes have empty data folders starts from it, by itself. */
#include "host/backup.h"

#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/err.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/text.h"
#include "host/backup_store.h"
#include "host/run.h"

#define LIVE_MS  30000 /* a store that was written to so lately has a cluster */
#define LIST_MAX 50

struct backup {
    const char *url, *key, *to, *to_key, *at;
    bool json, force, all;
    struct backup_store store;
    struct backup_manifest *list;
    size_t count;
    /* verify */
    uint64_t objects, bytes, sections, damaged;
};

static int usage(FILE *file)
{
    fputs("usage: mycorrizal backup list   --store URL [--store-key FILE] [--all] [--json]\n"
          "       mycorrizal backup verify --store URL [--store-key FILE] [--at TIME] [--json]\n"
          "       mycorrizal restore       --store URL [--store-key FILE] --at TIME\n"
          "                                [--to URL [--to-key FILE]] [--force]\n\n"
          "list    the manifests of the store, oldest first: each is a state of the cluster\n"
          "verify  reads everything that a manifest names, and checks every checksum\n"
          "restore makes a point in time what the next cluster of that store (or of --to) starts\n"
          "        from: start all nodes with empty data folders afterwards\n\n"
          "  --store URL      file:DIR or s3://…\n"
          "  --store-key FILE as of run, when the store is sealed; or env:NAME\n"
          "  --at TIME        2026-11-22T07:30:00Z, or how long ago: 90m; the newest manifest of\n"
          "                   that time or before it. Default of verify: the newest\n"
          "  --to URL         another store, which is empty; --to-key seals it\n"
          "  --force          also when a cluster seems to write to the store: it is fenced\n"
          "  --all            list more than the newest 50\n"
          "  --json           one line of JSON for each manifest, or for the verdict\n\n"
          "Exit status: 0 done, all is well; 1 it failed, or something is damaged; 2 usage.\n",
        file);
    return file == stderr ? MYCO_EXIT_USAGE : MYCO_EXIT_OK;
}

static int parse(struct backup *backup, int argc, char **argv)
{
    MYCO_ASSERT(backup != NULL);
    for (int i = 0; i < argc; i++) {
        const struct {
            const char *word, **text;
            bool *flag;
        } words[] = {{"--store", &backup->url, NULL}, {"--store-key", &backup->key, NULL},
            {"--to", &backup->to, NULL}, {"--to-key", &backup->to_key, NULL},
            {"--at", &backup->at, NULL}, {"--json", NULL, &backup->json},
            {"--all", NULL, &backup->all}, {"--force", NULL, &backup->force}};
        size_t w = 0, count = sizeof words / sizeof *words;
        while (w < count && strcmp(words[w].word, argv[i]) != 0) w++;
        if (w == count || (words[w].text && i + 1 == argc)) return usage(stderr);
        if (words[w].text)
            *words[w].text = argv[++i];
        else if (words[w].flag)
            *words[w].flag = true;
    }
    return backup->url ? 0 : usage(stderr);
}

/* ── times ── */

static void time_text(uint64_t ms, char text[32])
{
    time_t seconds = (time_t)(ms / 1000);
    struct tm tm;
    gmtime_r(&seconds, &tm);
    size_t size = strftime(text, 24, "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(text + size, 32 - size, ".%03uZ", (unsigned)(ms % 1000));
}

static uint64_t wall_ms(struct backup *backup)
{
    struct myco_env *env = myco_uv_env(backup->store.env);
    return env->ops->wall_ms(env);
}

static int parse_time(struct backup *backup, uint64_t *ms, struct myco_err *err)
{
    struct tm tm = {0};
    uint64_t ago;
    unsigned thousandth = 0;
    *ms = UINT64_MAX;
    if (!backup->at) return 0;
    const char *rest = strptime(backup->at, "%Y-%m-%dT%H:%M:%S", &tm);
    if (rest && *rest == '.' && sscanf(rest, ".%3uZ", &thousandth) == 1) rest += strcspn(rest, "Z");
    if (rest && strcmp(rest, "Z") == 0) {
        *ms = (uint64_t)timegm(&tm) * 1000 + thousandth;
        return 0;
    }
    if (myco_text_duration(backup->at, &ago, NULL) == 0 && ago < wall_ms(backup)) {
        *ms = wall_ms(backup) - ago;
        return 0;
    }
    return myco_err(err, MYCO_EINVAL,
        "--at %.60s: write 2026-11-22T07:30:00Z (in UTC), or how long ago: 90m", backup->at);
}

/* ── choosing ── */

static int load(struct backup *backup, struct myco_err *err)
{
    int rc = backup_store_open(&backup->store, backup->url, backup->key, err);
    return rc ? rc : backup_manifests(&backup->store, &backup->list, &backup->count, err);
}

/* The newest manifest of that time; from the end, since time rises along the chain. */
static int choose(struct backup *backup, struct myco_manifest *manifest, struct myco_err *err)
{
    uint64_t at_ms, oldest_ms = 0;
    char text[32];
    int rc = parse_time(backup, &at_ms, err);
    for (size_t i = backup->count; rc == 0 && i-- > 0;) {
        rc = backup_read_manifest(&backup->store, backup->list[i].key, manifest, err);
        if (rc) return rc;
        if (!manifest->seal && manifest->written_ms <= at_ms) return 0;
        if (!manifest->seal) oldest_ms = manifest->written_ms;
        myco_manifest_free(manifest);
    }
    if (rc) return rc;
    time_text(oldest_ms, text);
    return oldest_ms ? myco_err(err, MYCO_ENOTFOUND,
                           "nothing is kept of that time: the oldest manifest is of %s", text)
                     : myco_err(err, MYCO_ENOTFOUND, "there is no manifest in the store");
}

/* ── list ── */

static uint64_t data_size(const struct myco_manifest *manifest)
{
    uint64_t size = 0;
    for (uint32_t i = 0; i < manifest->object_count; i++) size += manifest->objects[i].size;
    return size;
}

static void print_one(const struct backup *backup, const struct myco_manifest *manifest)
{
    char text[32];
    time_text(manifest->written_ms, text);
    printf(backup->json
               ? "{\"time\":\"%s\",\"incarnation\":%llu,\"epoch\":\"%llx\",\"sequence\":%llu,"
                 "\"hyphae\":%u,\"objects\":%u,\"bytes\":%llu}\n"
               : "%s  %11llu  %16llx  %8llu  %6u  %7u  %12llu\n",
        text, (unsigned long long)manifest->incarnation, (unsigned long long)manifest->epoch,
        (unsigned long long)manifest->sequence, manifest->hypha_count, manifest->object_count,
        (unsigned long long)data_size(manifest));
}

static int list(struct backup *backup, struct myco_err *err)
{
    int rc = load(backup, err);
    size_t first = backup->all || backup->count <= LIST_MAX ? 0 : backup->count - LIST_MAX;
    if (rc == 0 && !backup->json)
        printf("%-24s  %11s  %16s  %8s  %6s  %7s  %12s\n", "TIME", "INCARNATION", "EPOCH",
            "SEQUENCE", "HYPHAE", "OBJECTS", "BYTES");
    for (size_t i = first; rc == 0 && i < backup->count; i++) {
        struct myco_manifest manifest = {0};
        rc = backup_read_manifest(&backup->store, backup->list[i].key, &manifest, err);
        if (rc == 0 && !manifest.seal) print_one(backup, &manifest);
        myco_manifest_free(&manifest);
    }
    return rc;
}

/* ── verify ── */

/* Every section of this object has the checksum that the manifest says. */
static void check_sections(struct backup *backup, const struct myco_manifest *manifest,
    uint32_t object, const struct myco_buf *bytes)
{
    for (uint32_t h = 0; h < manifest->hypha_count; h++) {
        const struct myco_manifest_hypha *hypha = &manifest->hyphae[h];
        for (uint32_t s = 0; s < hypha->section_count; s++) {
            const struct myco_section *section = &hypha->sections[s];
            if (section->object != object) continue;
            backup->sections++;
            bool inside = section->at <= bytes->size && section->size <= bytes->size - section->at;
            if (inside && myco_crc32c(0, bytes->data + section->at, section->size) == section->crc)
                continue;
            backup->damaged++;
            fprintf(stderr, "damaged: %s, hypha %u of septum %llu: %s\n",
                manifest->objects[object].key, hypha->hypha, (unsigned long long)hypha->septum,
                inside ? "the checksum does not match" : "the object is too short");
        }
    }
}

static void check_object(
    struct backup *backup, const struct myco_manifest *manifest, uint32_t object)
{
    struct myco_buf bytes = {0};
    struct myco_err err = {0};
    if (backup_get(&backup->store, manifest->objects[object].key, &bytes, &err)) {
        backup->damaged++;
        fprintf(stderr, "damaged: %s\n", err.message);
    } else {
        backup->objects++;
        backup->bytes += bytes.size;
        check_sections(backup, manifest, object, &bytes);
    }
    myco_buf_free(&bytes);
    if (isatty(2))
        fprintf(stderr, "\r%u of %u objects%s", object + 1, manifest->object_count,
            object + 1 == manifest->object_count ? "\n" : "");
}

static int verify(struct backup *backup, struct myco_err *err)
{
    struct myco_manifest manifest = {0};
    char text[32];
    int rc = load(backup, err);
    if (rc == 0) rc = choose(backup, &manifest, err);
    if (rc) return rc;
    for (uint32_t i = 0; i < manifest.object_count; i++) check_object(backup, &manifest, i);
    time_text(manifest.written_ms, text);
    printf(backup->json ? "{\"time\":\"%s\",\"objects\":%llu,\"sections\":%llu,\"bytes\":%llu,"
                          "\"damaged\":%llu}\n"
                        : "%s: %llu objects, %llu sections, %llu bytes read: %llu damaged\n",
        text, (unsigned long long)backup->objects, (unsigned long long)backup->sections,
        (unsigned long long)backup->bytes, (unsigned long long)backup->damaged);
    myco_manifest_free(&manifest);
    return backup->damaged ? myco_err(err, MYCO_ECORRUPT, "the backup is damaged") : 0;
}

/* ── restore ── */

static int check_target(struct backup *backup, struct backup_store *target, struct myco_err *err)
{
    struct backup_manifest *list = NULL;
    size_t count = 0;
    int rc = backup_manifests(target, &list, &count, err);
    uint64_t newest_ms = 0;
    for (size_t i = 0; i < count; i++)
        if (list[i].modified_ms > newest_ms) newest_ms = list[i].modified_ms;
    if (rc == 0 && backup->to && count > 0)
        rc = myco_err(err, MYCO_EEXISTS, "--to %.100s holds a cluster already", backup->to);
    else if (rc == 0 && !backup->force && newest_ms + LIVE_MS > wall_ms(backup))
        rc = myco_err(err, MYCO_EBUSY,
            "a cluster wrote to the store %llu s ago: stop it, or say --force to fence it",
            (unsigned long long)(wall_ms(backup) - newest_ms) / 1000);
    myco_free(list);
    return rc;
}

static int copy_object(struct backup *backup, struct backup_store *target,
    struct myco_manifest *manifest, uint32_t object, uint64_t incarnation, struct myco_err *err)
{
    struct myco_buf bytes = {0};
    char key[96];
    int rc = backup_get(&backup->store, manifest->objects[object].key, &bytes, err);
    if (rc == 0) check_sections(backup, manifest, object, &bytes);
    if (rc == 0 && backup->damaged)
        rc = myco_err(err, MYCO_ECORRUPT, "the backup is damaged: nothing was restored");
    snprintf(key, sizeof key, "d/restored/%llu-%u", (unsigned long long)incarnation, object + 1);
    if (rc == 0)
        rc = backup_put(target, key, myco_buf_as_slice(&bytes), MYCO_OBJECT_IF_ABSENT, err);
    if (rc == 0) {
        myco_free(manifest->objects[object].key);
        manifest->objects[object].key = myco_strdup(key);
    }
    myco_buf_free(&bytes);
    return rc;
}

/* What the newest manifest named is not needed by this one. */
static void drop_newest(struct myco_manifest *manifest, const struct myco_manifest *newest)
{
    for (uint32_t i = 0; i < manifest->dropped_count; i++) myco_free(manifest->dropped[i]);
    manifest->dropped =
        myco_realloc(manifest->dropped, (newest->object_count + 1) * sizeof *manifest->dropped);
    for (uint32_t i = 0; i < newest->object_count; i++)
        manifest->dropped[i] = myco_strdup(newest->objects[i].key);
    manifest->dropped_count = newest->object_count;
}

static int restore_into(struct backup *backup, struct backup_store *target,
    struct myco_manifest *manifest, struct myco_err *err)
{
    struct myco_chain *chain = myco_chain_new(target->backing.object);
    struct myco_manifest newest = {0};
    uint64_t incarnation = 0;
    int rc = backup_take_over(
        target, chain, &backup->store, manifest->incarnation, &incarnation, &newest, err);
    for (uint32_t i = 0; rc == 0 && i < manifest->object_count; i++)
        rc = copy_object(backup, target, manifest, i, incarnation, err);
    if (rc == 0) {
        drop_newest(manifest, &newest);
        manifest->incarnation = incarnation;
        rc = backup_write(target, chain, manifest, err);
    }
    myco_manifest_free(&newest);
    myco_chain_free(chain);
    return rc;
}

static int restore(struct backup *backup, struct myco_err *err)
{
    struct myco_manifest manifest = {0};
    struct backup_store other = {0};
    char text[32];
    int rc = load(backup, err);
    if (rc == 0) rc = choose(backup, &manifest, err);
    if (rc == 0 && backup->to) rc = backup_store_open(&other, backup->to, backup->to_key, err);
    struct backup_store *target = backup->to ? &other : &backup->store;
    if (rc == 0) rc = check_target(backup, target, err);
    time_text(manifest.written_ms, text);
    if (rc == 0) rc = restore_into(backup, target, &manifest, err);
    if (rc == 0)
        printf("restored the state of %s: %u hyphae, %u objects, %llu bytes\n"
               "start all nodes with empty data folders and --store %s\n",
            text, manifest.hypha_count, manifest.object_count,
            (unsigned long long)data_size(&manifest), backup->to ? backup->to : backup->url);
    myco_manifest_free(&manifest);
    backup_store_close(&other);
    return rc;
}

/* ── the commands ── */

static int run(int (*what)(struct backup *, struct myco_err *), int argc, char **argv)
{
    struct backup *backup = myco_alloc(sizeof *backup);
    struct myco_err err = {0};
    int rc = parse(backup, argc, argv);
    if (rc == 0 && what == restore && !backup->at) rc = usage(stderr);
    if (rc == 0 && what(backup, &err)) {
        fprintf(stderr, "mycorrizal: %s\n", err.message);
        rc = MYCO_EXIT_FAILED;
    }
    backup_store_close(&backup->store);
    myco_free(backup->list);
    myco_free(backup);
    return rc;
}

static bool asks_help(int argc, char **argv)
{
    return argc > 0 && (strcmp(argv[0], "--help") == 0 || strcmp(argv[0], "-h") == 0);
}

int myco_backup_main(int argc, char **argv)
{
    if (asks_help(argc, argv)) return usage(stdout);
    if (argc > 0 && strcmp(argv[0], "list") == 0) return run(list, argc - 1, argv + 1);
    if (argc > 0 && strcmp(argv[0], "verify") == 0) return run(verify, argc - 1, argv + 1);
    return usage(stderr);
}

int myco_restore_main(int argc, char **argv)
{
    return asks_help(argc, argv) ? usage(stdout) : run(restore, argc, argv);
}
