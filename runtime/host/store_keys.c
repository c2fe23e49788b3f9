/* Reads the keys of an object store. */
#include "host/store_keys.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"

#define TEXT_SIZE_MAX 16384

static int read_file(
    const char *path, struct myco_log *log, char text[TEXT_SIZE_MAX + 1], struct myco_err *err)
{
    struct stat stat;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return myco_err_sys(err, errno, "store key %s", path);
    ssize_t size = read(fd, text, TEXT_SIZE_MAX + 1);
    int status = size < 0 ? errno : 0;
    if (fstat(fd, &stat) == 0 && (stat.st_mode & (S_IRWXG | S_IRWXO)))
        MYCO_WARN(log, "mycel", "others on this machine can read the file of keys: chmod 600",
            "file=%s mode=%03o", path, stat.st_mode & 0777);
    close(fd);
    if (status) return myco_err_sys(err, status, "store key %s", path);
    if (size > TEXT_SIZE_MAX)
        return myco_err(
            err, MYCO_ETOOBIG, "store key %s: longer than %d bytes", path, TEXT_SIZE_MAX);
    text[size] = '\0';
    return 0;
}

static int read_variable(const char *name, char text[TEXT_SIZE_MAX + 1], struct myco_err *err)
{
    const char *value = getenv(name);
    if (!value) return myco_err(err, MYCO_ENOTFOUND, "store key: the variable %s is not set", name);
    if (strlen(value) > TEXT_SIZE_MAX)
        return myco_err(
            err, MYCO_ETOOBIG, "store key %s: longer than %d bytes", name, TEXT_SIZE_MAX);
    strcpy(text, value);
    for (char *at = text; *at; at++)
        if (*at == ',' || *at == ' ') *at = '\n';
    return 0;
}

static int add(struct myco_store_keys *keys, char *line, unsigned number, struct myco_err *err)
{
    line[strcspn(line, "#")] = '\0';
    line += strspn(line, " \t\r");
    for (size_t size = strlen(line); size && strchr(" \t\r", line[size - 1]); size--)
        line[size - 1] = '\0';
    struct myco_seal_key key;
    if (!*line) return 0;
    if (strcmp(line, "plain") == 0) {
        keys->plain = true;
        return 0;
    }
    if (!myco_seal_key_parse(&key, myco_str(line)))
        return myco_err(err, MYCO_EINVAL,
            "line %u is not a key: 44 characters as `mycorrizal keygen` prints them, or plain",
            number);
    for (unsigned i = 0; i < keys->count; i++)
        if (memcmp(&keys->keys[i], &key, sizeof key) == 0)
            return myco_err(err, MYCO_EEXISTS, "line %u: this key was there before", number);
    if (keys->count == MYCO_STORE_KEYS_MAX)
        return myco_err(err, MYCO_ETOOBIG, "more than %d keys", MYCO_STORE_KEYS_MAX);
    keys->keys[keys->count++] = key;
    return 0;
}

int node_store_keys(
    const char *where, struct myco_log *log, struct myco_store_keys *keys, struct myco_err *err)
{
    char text[TEXT_SIZE_MAX + 1], *rest = text, *line;
    bool variable = strncmp(where, "env:", 4) == 0;
    *keys = (struct myco_store_keys){0};
    int rc = variable ? read_variable(where + 4, text, err) : read_file(where, log, text, err);
    if (rc) return rc;
    for (unsigned number = 1; rc == 0 && (line = strsep(&rest, "\n")); number++)
        rc = add(keys, line, number, err);
    if (rc == 0 && keys->count == 0) rc = myco_err(err, MYCO_ENOTFOUND, "there is no key in it");
    myco_seal_wipe(text, sizeof text);
    return rc ? myco_err_wrap(err, "store key %s", where) : 0;
}
