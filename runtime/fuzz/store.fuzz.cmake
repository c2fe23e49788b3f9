myco_fuzz(journal LAYERS store)
