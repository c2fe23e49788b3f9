myco_fuzz(manifest LAYERS object)
