myco_test(env_timers LAYERS env)
myco_test(env_uv LAYERS env)
myco_test(env_disk LAYERS env)
