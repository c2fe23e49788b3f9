myco_test(subjects LAYERS stream)
myco_test(bus LAYERS stream)
myco_test(bus_fence LAYERS stream)
myco_test(bus_model LAYERS stream)

# scripts/bench/bus builds and runs it.
if(TARGET myco_stream)
  add_executable(bench_bus EXCLUDE_FROM_ALL ${CMAKE_SOURCE_DIR}/scripts/bench/bus.c)
  target_link_libraries(bench_bus PRIVATE myco_stream myco_warnings)
  myco_test_objects(bench_bus stream)
endif()
