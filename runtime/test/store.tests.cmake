myco_test(table LAYERS store)
