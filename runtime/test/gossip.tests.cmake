myco_test(swim LAYERS gossip)
myco_test(swim_faults LAYERS gossip)
myco_test(swim_hand LAYERS gossip)
