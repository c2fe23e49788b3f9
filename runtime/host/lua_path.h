/* Where the Lua layer lies, the folder with mycorrizal/init.lua; and where modules in C do. */
#ifndef MYCO_HOST_LUA_PATH_H
#define MYCO_HOST_LUA_PATH_H

#include <stdbool.h>

#include "base/err.h"

#define MYCO_LUA_PATH_MAX 4096

/* The first of these that there is: `wanted` or, when that is NULL, the environment's
 * MYCORRIZAL_LUA (nothing else is tried then); share/mycorrizal/lua beside the folder of the
 * program, or beside or above that of this library, wherever they were put; the same in /usr/local
 * and /usr. Blocking. ENOTFOUND names what was tried. */
int myco_lua_path(const char *wanted, char path[MYCO_LUA_PATH_MAX], struct myco_err *err);
/* NAME.so in the folder of the environment's MYCORRIZAL_MODULES (nothing else is tried then), or in
 * lib/mycorrizal, found as above. false: not there; `path` is the last that was tried. */
bool myco_module_path(const char *name, char path[MYCO_LUA_PATH_MAX]);

#endif
