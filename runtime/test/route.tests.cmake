myco_test(route LAYERS route)
