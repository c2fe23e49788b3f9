# The wiring: a core over env/ (also in the simulator), a node under libuv, the public calls.
if(TARGET myco_bridge)
  myco_layer(host
    SOURCES core.c core_state.c core_hyphae.c core_client.c core_serve.c core_fence.c core_duties.c core_inbox.c inspect.c
            core_chronicle.c core_witness.c core_witness_sets.c inspect_nodosum.c api_follow.c
            persist.c persist_leader.c persist_load.c node.c api.c api_events.c lua_path.c sim.c sim_run.c
            sim_check.c sim_clients.c sim_judge.c sim_cache.c sim_events.c sim_fence.c sim_disks.c sim_store.c sim_failover.c
    NEEDS base env wire net gossip store stream object consensus bridge
    LIBS PkgConfig::UV PkgConfig::MSGPACK Threads::Threads)
endif()
