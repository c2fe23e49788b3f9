# The public API, through every layer: nodes on loopback in the test's own process.
foreach(test duties events mycel open policies threads uv)
  myco_test(api_${test} LAYERS host LIBS PkgConfig::LUA)
  if(TARGET test_api_${test})
    target_compile_definitions(test_api_${test} PRIVATE MYCO_LUA_DIR="${CMAKE_SOURCE_DIR}/lua")
  endif()
endforeach()
