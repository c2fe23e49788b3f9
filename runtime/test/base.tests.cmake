foreach(test err buf map hash text log option)
  myco_test(base_${test} LAYERS base)
endforeach()
