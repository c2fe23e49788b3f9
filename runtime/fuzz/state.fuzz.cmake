myco_fuzz(state LAYERS consensus)
myco_fuzz(node_meta LAYERS consensus)
