myco_fuzz(raft_message LAYERS consensus)
myco_fuzz(raft_tail LAYERS consensus)
