# The wiring: a core over env/ (also in the simulator), a node under libuv, the public calls. Not the program's own
# files (cli.cmake).
if(TARGET myco_bridge)
  file(GLOB host_sources RELATIVE ${CMAKE_CURRENT_SOURCE_DIR}/host CONFIGURE_DEPENDS
    host/core*.c host/inspect*.c host/persist*.c host/api*.c host/sim*.c)
  myco_layer(host
    SOURCES ${host_sources} recover.c backup.c backup_store.c node.c join.c join_check.c lua_path.c keys.c store.c store_keys.c
    NEEDS base env wire net route gossip store stream object consensus bridge
    LIBS PkgConfig::UV PkgConfig::MSGPACK Threads::Threads)
  set_source_files_properties(host/lua_path.c PROPERTIES
    COMPILE_DEFINITIONS MYCO_LIBDIR="${CMAKE_INSTALL_LIBDIR}")
endif()
