/* Where the Lua layer and modules lie. One rule serves an installed tree and a build tree, which
 * has the same shape (cmake/Install.cmake): the layer is in ../share/mycorrizal/lua, seen from the
 * program in bin/ or the library in lib/ (../../share, seen from lib/x86_64-linux-gnu/); modules
 * are in ../lib/mycorrizal, or beside the library. */
#include "host/lua_path.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/text.h"

#define LAYER      "share/mycorrizal/lua"
#define SUFFIX_MAX 128

/* What is looked for: `suffix` below the root of an installation, with `probe` in it. */
struct wanted {
    const char *suffix, *probe;
};

static bool is_there(const char *path, const char *probe)
{
    char file[MYCO_LUA_PATH_MAX + 64];
    snprintf(file, sizeof file, "%s%s", path, probe);
    return access(file, R_OK) == 0;
}

/* `file` without its last `parts` names, and what is wanted below that. */
static bool try_above(
    const char *file, int parts, const struct wanted *wanted, char path[MYCO_LUA_PATH_MAX])
{
    char folder[MYCO_LUA_PATH_MAX - SUFFIX_MAX];
    if (!myco_text_copy(folder, sizeof folder, file)) return false;
    while (parts-- > 0) {
        char *slash = strrchr(folder, '/');
        if (slash == NULL) return false;
        *slash = '\0';
    }
    snprintf(path, MYCO_LUA_PATH_MAX, "%s/%s", folder, wanted->suffix);
    return is_there(path, wanted->probe);
}

static bool try_program(const struct wanted *wanted, char path[MYCO_LUA_PATH_MAX])
{
    char file[MYCO_LUA_PATH_MAX];
    ssize_t size = readlink("/proc/self/exe", file, sizeof file - 1);
    if (size <= 0) return false;
    file[size] = '\0';
    return try_above(file, 2, wanted, path);
}

static bool try_library(const struct wanted *wanted, char path[MYCO_LUA_PATH_MAX])
{
    static const char here; /* some address in this library */
    Dl_info info;
    if (dladdr(&here, &info) == 0 || info.dli_fname == NULL) return false;
    char *file = realpath(info.dli_fname, NULL);
    if (file == NULL) return false;
    bool found = try_above(file, 2, wanted, path) || try_above(file, 3, wanted, path);
    free(file);
    return found;
}

static bool try_all(const struct wanted *wanted, char path[MYCO_LUA_PATH_MAX])
{
    return try_program(wanted, path) || try_library(wanted, path) ||
           try_above("/usr/local/x", 1, wanted, path) || try_above("/usr/x", 1, wanted, path);
}

int myco_lua_path(const char *wanted, char path[MYCO_LUA_PATH_MAX], struct myco_err *err)
{
    static const struct wanted layer = {LAYER, "/mycorrizal/init.lua"};
    if (wanted == NULL) wanted = getenv("MYCORRIZAL_LUA");
    if (wanted != NULL && wanted[0] != '\0') {
        if (myco_text_copy(path, MYCO_LUA_PATH_MAX, wanted) && is_there(path, layer.probe))
            return 0;
        return myco_err(
            err, MYCO_ENOTFOUND, "no Lua layer: %s/mycorrizal/init.lua is not there", wanted);
    }
    if (try_all(&layer, path)) return 0;
    return myco_err(err, MYCO_ENOTFOUND,
        "no Lua layer: " LAYER
        " is neither beside the program or library, nor in /usr/local or /usr; "
        "set lua_path, or MYCORRIZAL_LUA");
}

bool myco_module_path(const char *name, char path[MYCO_LUA_PATH_MAX])
{
    static const char *const folders[] = {"lib", MYCO_LIBDIR};
    const char *folder = getenv("MYCORRIZAL_MODULES");
    if (folder != NULL && folder[0] != '\0') {
        int size = snprintf(path, MYCO_LUA_PATH_MAX, "%s/%s.so", folder, name);
        return size < MYCO_LUA_PATH_MAX && access(path, R_OK) == 0;
    }
    for (int i = 0; i < 2; i++) {
        char suffix[SUFFIX_MAX];
        snprintf(suffix, sizeof suffix, "%s/mycorrizal/%s.so", folders[i], name);
        if (try_all(&(struct wanted){suffix, ""}, path)) return true;
    }
    return false;
}
