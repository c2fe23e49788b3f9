myco_test(object_file LAYERS object)
myco_test(manifest LAYERS object)
myco_test(chain LAYERS object)
myco_test(chain_faults LAYERS object)
