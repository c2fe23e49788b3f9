myco_fuzz(state LAYERS consensus)
