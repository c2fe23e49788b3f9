myco_fuzz(msgpack LAYERS host)
myco_fuzz(policy LAYERS host)
