myco_fuzz(swim LAYERS gossip)
myco_fuzz(keyring LAYERS gossip)
