-- A host by its name or address, and a port: looked up again, so that a host may move.

return {
  kind = "discovery",
  doc = "HOST:PORT; a name is looked up again each time, and all of its addresses are asked.",
  options = {
    server = { type = "string", default = "", doc = "ADDRESS:PORT of a name server, in place of the system's" },
  },

  discover = function(world, options)
    local host, port = world.address:match("^(.+):(%d+)$")
    return world.kit.addresses(host, tonumber(port), options.server)
  end,

  examples = {
    { given = { address = "10.0.0.1:7946" }, expect = { "10.0.0.1:7946" } },
    {
      given = { address = "db1:7946", answers = { ["resolve db1 A"] = { "10.0.0.1" }, ["resolve db1 AAAA"] = {} } },
      expect = { "10.0.0.1:7946" },
    },
  },
}
