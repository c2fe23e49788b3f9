# What the cluster has agreed on, and who may act on it.
myco_test(state LAYERS consensus)
myco_test(features LAYERS consensus)
myco_test(state_locks LAYERS consensus)
myco_test(state_septa LAYERS consensus)
myco_test(state_candidates LAYERS consensus)
# Leases over a log that is a fake: lease.c alone.
if(TARGET myco_consensus)
  myco_test(lease LAYERS env SOURCES ${CMAKE_CURRENT_SOURCE_DIR}/consensus/lease.c)
  target_include_directories(test_lease PRIVATE
    $<TARGET_PROPERTY:myco_consensus,INTERFACE_INCLUDE_DIRECTORIES>)
endif()
myco_test(node_meta LAYERS consensus)
