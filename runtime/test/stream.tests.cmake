myco_test(subjects LAYERS stream)
myco_test(bus LAYERS stream)
myco_test(bus_model LAYERS stream)
