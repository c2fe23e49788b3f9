myco_fuzz(text LAYERS base)
