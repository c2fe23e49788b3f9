/* The option `join` as a configuration writes it, as the text that the command line has. */
#ifndef MYCO_BRIDGE_CONFIG_JOIN_H
#define MYCO_BRIDGE_CONFIG_JOIN_H

#include <lua.h>

/* Pushes the text of the value at `index`: a string; { dns = "shop.internal", every = "10s" } is
 * "dns:shop.internal?every=10s"; { store = true } is "store:"; the address and its options may
 * stand in one table, { consul = { "http://127.0.0.1:8500/shop", tag = "eu" } }; a list of these is
 * joined by commas. Raises what is wrong. */
void myco__push_join(lua_State *L, int index);

#endif
