myco_test(base_buf LAYERS base)
