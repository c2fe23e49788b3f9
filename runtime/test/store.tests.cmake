myco_test(table LAYERS store)
myco_test(table_threads LAYERS store)
myco_test(journal LAYERS store)
myco_test(journal_recovery LAYERS store)
