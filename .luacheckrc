std = "lua54"
max_line_length = 120
files["lua/mycorrizal/policy"] = { read_globals = { "hash" } } -- the sandbox of policies
files["scripts"] = { read_globals = { "hash" } }
files["spec"] = { std = "+busted" }
