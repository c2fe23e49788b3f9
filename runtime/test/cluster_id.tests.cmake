# Which cluster a node is of, with whole cores in the simulator.
if(TARGET myco_host)
  myco_test(cluster_id LAYERS host)
endif()
