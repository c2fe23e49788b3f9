myco_test(table LAYERS store)
myco_test(table_threads LAYERS store)
