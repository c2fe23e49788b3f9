myco_test(object_file LAYERS object)
myco_test(manifest LAYERS object)
