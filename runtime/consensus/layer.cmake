# Consensus: the replicated log on libraft (log*.c, raft_*.c), and on it the council's state machine.
file(GLOB council_sources RELATIVE ${CMAKE_CURRENT_SOURCE_DIR}/consensus CONFIGURE_DEPENDS
  consensus/state*.c consensus/council*.c consensus/lease*.c consensus/policy*.c
  consensus/bootstrap*.c consensus/commands*.c)
myco_layer(consensus
  SOURCES log.c raft_step.c raft_guard.c raft_pump.c raft_member.c raft_notice.c raft_snapshot.c raft_store.c
          raft_load.c raft_recover.c raft_format.c raft_message.c raft_config.c raft_cache.c
          raft_tail.c raft_tail_message.c raft_feed.c ${council_sources}
  NEEDS base env wire gossip store stream object
  LIBS PkgConfig::RAFT PkgConfig::MSGPACK)
