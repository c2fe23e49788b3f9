myco_fuzz(swim LAYERS gossip)
