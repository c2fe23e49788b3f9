myco_layer(stream SOURCES subjects.c trie.c codec.c interest.c peers.c delivery.c fences.c publish.c bus.c
           NEEDS base env wire)
