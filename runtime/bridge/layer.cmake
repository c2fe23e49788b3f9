# Lua in a node, and the sandbox of policies: the only includer of lua.h. It waits for the layers it stands on.
if(TARGET myco_consensus)
  myco_layer(bridge
    SOURCES keys.c msgpack.c sandbox.c sandbox_lib.c answers.c contract.c policies.c
            state.c guard.c bind.c bind_node.c bind_mycel.c bind_ops.c bind_watch.c bind_cytoplasm.c bind_nodosum.c bind_follow.c bind_policies.c
            bind_discovery.c bridge.c program.c config.c config_join.c
    NEEDS base object consensus
    LIBS PkgConfig::LUA PkgConfig::LUV PkgConfig::UV PkgConfig::MSGPACK)
endif()
