myco_fuzz(text LAYERS base)
myco_fuzz(zone LAYERS base)
