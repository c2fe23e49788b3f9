myco_fuzz(subjects LAYERS stream)
myco_fuzz(bus LAYERS stream)
