myco_test(net_link LAYERS net)
myco_test(net_flow LAYERS net)
myco_test(net_refuse LAYERS net)
myco_test(net_tls LAYERS net)
if(TARGET test_net_tls)
  target_compile_definitions(test_net_tls PRIVATE MYCO_SCRIPTS="${CMAKE_SOURCE_DIR}/scripts")
endif()

# Not a test: scripts/bench/transport builds and runs it.
if(TARGET myco_net AND TARGET myco_env)
  add_executable(bench_transport EXCLUDE_FROM_ALL ${CMAKE_SOURCE_DIR}/scripts/bench/transport.c)
  target_link_libraries(bench_transport PRIVATE myco_net myco_warnings)
  myco_test_objects(bench_transport net)
endif()
