# Object stores: the driver for files, manifests, and the chain of them that has one writer.
myco_layer(object
  SOURCES chain.c chain_gc.c chain_prune.c chain_task.c chain_walk.c file.c manifest.c sealed.c
  NEEDS base env)
