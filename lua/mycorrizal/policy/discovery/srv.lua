-- A service's records in DNS (RFC 2782), which name hosts and ports: the lowest priority first.

local function by_rank(a, b)
  if a.priority ~= b.priority then return a.priority < b.priority end
  if a.weight ~= b.weight then return a.weight > b.weight end
  return a.target .. ":" .. a.port < b.target .. ":" .. b.port
end

local TARGETS_MAX <const> = 64

return {
  kind = "discovery",
  doc = "_mycorrizal._tcp.NAME: the host and port of every SRV record; the hosts are looked up in turn.",
  options = {
    server = { type = "string", default = "", doc = "ADDRESS:PORT of a name server, in place of the system's" },
  },

  discover = function(world, options)
    local kit = world.kit
    local records, message, code = kit.resolve(world.address, "SRV", options.server)
    if not records then return nil, message, code end
    table.sort(records, by_rank)
    local found, known = {}, {}
    for i = 1, math.min(#records, TARGETS_MAX) do
      local record = records[i]
      local key = record.target .. ":" .. record.port
      if record.target ~= "" and not known[key] then
        known[key] = true
        local list, why = kit.addresses(record.target, record.port, options.server)
        if not list then kit.log(why) end -- the others may be there
        for _, address in ipairs(list or {}) do found[#found + 1] = address end
      end
    end
    return found
  end,

  examples = {
    {
      given = {
        address = "_mycorrizal._tcp.shop.internal",
        answers = {
          ["resolve _mycorrizal._tcp.shop.internal SRV"] = {
            { priority = 10, weight = 0, port = 7947, target = "b.shop.internal" },
            { priority = 5, weight = 0, port = 7946, target = "a.shop.internal" },
            { priority = 5, weight = 9, port = 7946, target = "gone.shop.internal" },
          },
          ["resolve a.shop.internal A"] = { "10.0.0.1" }, ["resolve b.shop.internal A"] = { "10.0.0.2" },
        },
      },
      expect = { "10.0.0.1:7946", "10.0.0.2:7947" },
    },
  },
}
