/* Where the Lua layer lies. One rule serves an installed tree and a build tree, which has the same
 * shape (cmake/Install.cmake): the layer is in ../share/mycorrizal/lua, seen from the program in
 * bin/ or the library in lib/ (../../share, seen from lib/x86_64-linux-gnu/). */
#include "host/lua_path.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/text.h"

#define LAYER "share/mycorrizal/lua"

static bool has_layer(const char *path)
{
    char file[MYCO_LUA_PATH_MAX + 32];
    snprintf(file, sizeof file, "%s/mycorrizal/init.lua", path);
    return access(file, R_OK) == 0;
}

/* `file` without its last `parts` names, and the layer below that. */
static bool try_above(const char *file, int parts, char path[MYCO_LUA_PATH_MAX])
{
    char folder[MYCO_LUA_PATH_MAX - sizeof LAYER];
    if (!myco_text_copy(folder, sizeof folder, file)) return false;
    while (parts-- > 0) {
        char *slash = strrchr(folder, '/');
        if (slash == NULL) return false;
        *slash = '\0';
    }
    snprintf(path, MYCO_LUA_PATH_MAX, "%s/" LAYER, folder);
    return has_layer(path);
}

static bool try_program(char path[MYCO_LUA_PATH_MAX])
{
    char file[MYCO_LUA_PATH_MAX];
    ssize_t size = readlink("/proc/self/exe", file, sizeof file - 1);
    if (size <= 0) return false;
    file[size] = '\0';
    return try_above(file, 2, path);
}

static bool try_library(char path[MYCO_LUA_PATH_MAX])
{
    static const char here; /* some address in this library */
    Dl_info info;
    if (dladdr(&here, &info) == 0 || info.dli_fname == NULL) return false;
    char *file = realpath(info.dli_fname, NULL);
    if (file == NULL) return false;
    bool found = try_above(file, 2, path) || try_above(file, 3, path);
    free(file);
    return found;
}

int myco_lua_path(const char *wanted, char path[MYCO_LUA_PATH_MAX], struct myco_err *err)
{
    if (wanted == NULL) wanted = getenv("MYCORRIZAL_LUA");
    if (wanted != NULL && wanted[0] != '\0') {
        if (myco_text_copy(path, MYCO_LUA_PATH_MAX, wanted) && has_layer(path)) return 0;
        return myco_err(
            err, MYCO_ENOTFOUND, "no Lua layer: %s/mycorrizal/init.lua is not there", wanted);
    }
    if (try_program(path) || try_library(path)) return 0;
    if (try_above("/usr/local/x", 1, path) || try_above("/usr/x", 1, path)) return 0;
    return myco_err(err, MYCO_ENOTFOUND,
        "no Lua layer: " LAYER
        " is neither beside the program or library, nor in /usr/local or /usr; "
        "set lua_path, or MYCORRIZAL_LUA");
}
