myco_test(policies LAYERS host LIBS PkgConfig::LUA)
if(TARGET test_policies)
  target_compile_definitions(test_policies PRIVATE MYCO_LUA_DIR="${CMAKE_SOURCE_DIR}/lua")
endif()
