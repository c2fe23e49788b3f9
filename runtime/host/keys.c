/* Keys of gossip as files hold them. */
#include "host/keys.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"

#define FILE_SIZE_MAX 16384

bool myco_keys_has(const struct myco_keys *keys, uint64_t fingerprint)
{
    for (unsigned i = 0; i < keys->count; i++)
        if (myco_seal_fingerprint(&keys->keys[i]) == fingerprint) return true;
    return false;
}

void myco_keys_add(struct myco_keys *keys, const struct myco_seal_key *key)
{
    if (keys->count == MYCO_KEYS_MAX || myco_keys_has(keys, myco_seal_fingerprint(key))) return;
    keys->keys[keys->count++] = *key;
}

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

static int parse_line(
    struct myco_slice line, unsigned number, struct myco_keys *keys, struct myco_err *err)
{
    const char *from = line.data, *to = from + line.size;
    const char *comment = memchr(from, '#', line.size);
    if (comment) to = comment;
    while (from < to && is_space(*from)) from++;
    while (to > from && is_space(to[-1])) to--;
    if (from == to) return 0;
    struct myco_seal_key key;
    if (!myco_seal_key_parse(&key, myco_bytes(from, (size_t)(to - from))))
        return myco_err(err, MYCO_EINVAL,
            "line %u is not a key: 44 characters as `mycorrizal keygen` prints them", number);
    if (myco_keys_has(keys, myco_seal_fingerprint(&key)))
        return myco_err(err, MYCO_EEXISTS, "line %u: this key was there before", number);
    if (keys->count == MYCO_KEYS_MAX)
        return myco_err(err, MYCO_ETOOBIG, "line %u: more than %d keys", number, MYCO_KEYS_MAX);
    keys->keys[keys->count++] = key;
    return 0;
}

int myco_keys_parse(struct myco_slice text, struct myco_keys *keys, struct myco_err *err)
{
    const char *at = text.data, *end = at + text.size;
    keys->count = 0;
    for (unsigned number = 1; at < end; number++) {
        const char *newline = memchr(at, '\n', (size_t)(end - at));
        const char *stop = newline ? newline : end;
        int rc = parse_line(myco_bytes(at, (size_t)(stop - at)), number, keys, err);
        if (rc) return rc;
        at = stop + 1;
    }
    return keys->count ? 0 : myco_err(err, MYCO_ENOTFOUND, "there is no key in it");
}

void myco_keys_write(const struct myco_keys *keys, struct myco_buf *out)
{
    for (unsigned i = 0; i < keys->count; i++) {
        char text[MYCO_SEAL_TEXT_MAX];
        myco_seal_key_text(&keys->keys[i], text);
        myco_buf_printf(out, "%s\n", text);
        myco_seal_wipe(text, sizeof text);
    }
}

int myco_keys_read(
    const char *path, struct myco_log *log, struct myco_keys *keys, struct myco_err *err)
{
    char text[FILE_SIZE_MAX + 1];
    struct stat stat;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return myco_err_sys(err, errno, "key %s", path);
    ssize_t size = read(fd, text, sizeof text);
    int status = size < 0 ? errno : 0;
    if (fstat(fd, &stat) == 0 && (stat.st_mode & (S_IRWXG | S_IRWXO)))
        MYCO_WARN(log, "gossip", "others on this machine can read the file of keys: chmod 600",
            "file=%s mode=%03o", path, stat.st_mode & 0777);
    close(fd);
    if (status) return myco_err_sys(err, status, "key %s", path);
    if (size > FILE_SIZE_MAX)
        return myco_err(err, MYCO_ETOOBIG, "key %s: longer than %d bytes", path, FILE_SIZE_MAX);
    int rc = myco_keys_parse(myco_bytes(text, (size_t)size), keys, err);
    myco_seal_wipe(text, sizeof text);
    return rc ? myco_err_wrap(err, "key %s", path) : 0;
}
