myco_fuzz(hypha LAYERS store)
