# The program's own files, over a node that is a fake.
if(TARGET myco_host AND TARGET myco_bridge)
  myco_test(host_cli LAYERS base
    SOURCES ${CMAKE_CURRENT_SOURCE_DIR}/host/run.c ${CMAKE_CURRENT_SOURCE_DIR}/host/options.c
            ${CMAKE_CURRENT_SOURCE_DIR}/host/join_check.c)
  target_include_directories(test_host_cli PRIVATE
    $<TARGET_PROPERTY:myco_host,INTERFACE_INCLUDE_DIRECTORIES>)
endif()
