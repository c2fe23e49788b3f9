# The program `mycorrizal`: a node without a host of its own. Its sources, absolute; what it stands on
# is the library (cmake/Install.cmake puts the two together).
set(MYCO_CLI_SOURCES "")
foreach(source main.c run.c options.c)
  list(APPEND MYCO_CLI_SOURCES ${CMAKE_CURRENT_LIST_DIR}/${source})
endforeach()
