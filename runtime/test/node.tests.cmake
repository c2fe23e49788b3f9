# The public API, through every layer: nodes on loopback in the test's own process (api_…), and nodes
# that are processes, so that they can be killed (node_…).
foreach(test api_duties api_events api_follow api_mycel api_ops api_watch api_open api_policies api_threads api_uv node_disk
    node_cli node_full node_garbage)
  myco_test(${test} LAYERS host LIBS PkgConfig::LUA)
  if(TARGET test_${test})
    target_compile_definitions(test_${test} PRIVATE MYCO_LUA_DIR="${CMAKE_SOURCE_DIR}/lua"
      MYCO_PROGRAM="$<TARGET_FILE:mycorrizal>")
  endif()
endforeach()
if(TARGET test_node_cli)
  add_dependencies(test_node_cli mycorrizal)
endif()
myco_test(chronicle LAYERS host LIBS PkgConfig::LUA)
myco_test(lag LAYERS host)
