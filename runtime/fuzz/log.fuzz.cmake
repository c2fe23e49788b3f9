myco_fuzz(raft_message LAYERS consensus)
