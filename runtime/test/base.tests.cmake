foreach(test err buf map hash text log)
  myco_test(base_${test} LAYERS base)
endforeach()
