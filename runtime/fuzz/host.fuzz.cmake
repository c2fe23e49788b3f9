myco_fuzz(changes LAYERS host)
