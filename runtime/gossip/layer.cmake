myco_layer(gossip SOURCES swim.c members.c suspicion.c probe.c queue.c sync.c codec.c keyring.c
           NEEDS base env LIBS m)
