/* The line editor as a Lua module, pulse.line. */
#ifndef PULSE_LINE_H
#define PULSE_LINE_H

#include <lua.h>

int pulse_open_line(lua_State *L);

#endif
