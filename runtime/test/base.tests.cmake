foreach(test err buf map hash text log option seal cron)
  myco_test(base_${test} LAYERS base)
endforeach()
