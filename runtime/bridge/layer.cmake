# Lua in a node, and the sandbox of policies: the only includer of lua.h. It waits for the layers it stands on.
if(TARGET myco_consensus)
  myco_layer(bridge
    SOURCES keys.c msgpack.c sandbox.c sandbox_lib.c answers.c contract.c policies.c
    NEEDS base consensus
    LIBS PkgConfig::LUA PkgConfig::MSGPACK)
endif()
