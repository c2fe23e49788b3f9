/* The program `pulse`: main.lua, with a line editor. */
#include <locale.h>
#include <stdio.h>

#include "bridge/bridge.h"
#include "host/lua_path.h"
#include "line.h"

int main(int argc, char **argv)
{
    static const struct myco_bridge_module modules[] = {
        {"pulse.line", pulse_open_line}, {NULL, NULL}};
    char lua_path[MYCO_LUA_PATH_MAX], script[MYCO_LUA_PATH_MAX + 32];
    struct myco_err err = {0};
    setlocale(LC_CTYPE, ""); /* the line editor counts characters, not bytes */
    if (myco_lua_path(NULL, lua_path, &err) < 0) return myco_complain(&err);
    snprintf(script, sizeof script, "%s/pulse/main.lua", lua_path);
    return myco_bridge_run(lua_path, script, argc - 1, argv + 1, modules);
}
