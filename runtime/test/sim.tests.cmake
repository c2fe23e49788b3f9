foreach(test world host disk transport)
  myco_test(sim_${test} LAYERS env)
endforeach()
