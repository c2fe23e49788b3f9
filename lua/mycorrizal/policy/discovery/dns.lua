-- A name that stands for all nodes, such as a headless service: each of its addresses is one.

return {
  kind = "discovery",
  doc = "NAME or NAME:PORT: every A and AAAA record of the name; without a port, the one that this node has.",
  options = {
    port = { type = "integer", default = 0, doc = "the nodes' port; 0: as in the name, else this node's own" },
    server = { type = "string", default = "", doc = "ADDRESS:PORT of a name server, in place of the system's" },
  },

  discover = function(world, options)
    local name, port = world.address:match("^(.-):(%d+)$")
    port = tonumber(port) or options.port ~= 0 and options.port or world.port
    return world.kit.addresses(name or world.address, port, options.server)
  end,

  examples = {
    {
      given = {
        address = "shop.internal", port = 7946,
        answers = {
          ["resolve shop.internal A"] = { "10.0.0.1", "10.0.0.2" }, ["resolve shop.internal AAAA"] = { "fd00::1" },
        },
      },
      expect = { "10.0.0.1:7946", "10.0.0.2:7946", "[fd00::1]:7946" },
    },
    {
      given = {
        address = "shop.internal:7000", port = 7946, answers = { ["resolve shop.internal A"] = { "10.0.0.1" } },
      },
      expect = { "10.0.0.1:7000" },
    },
  },
}
