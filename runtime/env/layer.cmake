# The outside world, twice: libuv's, and the simulator's (sim*.c).
file(GLOB myco_sim_sources RELATIVE ${CMAKE_CURRENT_SOURCE_DIR}/env CONFIGURE_DEPENDS
  ${CMAKE_CURRENT_SOURCE_DIR}/env/sim*.c)
myco_layer(env
  SOURCES env.c folder.c uv_disk.c uv_env.c ${myco_sim_sources}
  NEEDS base
  LIBS PkgConfig::UV Threads::Threads)
