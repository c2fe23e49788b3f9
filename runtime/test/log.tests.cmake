# The replicated log: a small world of its own (log_cluster*.c), in virtual time.
foreach(name log_basics log_disk log_snapshot log_member log_failover log_figure8 log_guard log_chaos log_tail)
  myco_test(${name} LAYERS consensus SOURCES test/log_cluster.c test/log_cluster_disk.c)
endforeach()
# The same on the two real environments.
myco_test(log_uv LAYERS consensus)
myco_test(log_sim LAYERS consensus)
