myco_fuzz(relay LAYERS route)
