# Hyphae in a world of their own: hypha_world.h.
file(GLOB hypha_world CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/test/hypha_world*.c)
foreach(name hypha_levels hypha_sets hypha_write hypha_fence hypha_catchup hypha_recover hypha_random)
  myco_test(${name} LAYERS store SOURCES ${hypha_world})
endforeach()
