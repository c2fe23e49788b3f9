-- One star: everybody is linked with one hub and with one that stands by. For a handful of nodes of which one or two
-- are reachable by all others.

local function better(a, b)
  if a.preferred ~= b.preferred then return a.preferred end
  if a.lot ~= b.lot then return math.ult(a.lot, b.lot) end
  return a.id < b.id
end

local function member(id, hub)
  return { id = id, name = "node-" .. id, labels = { hub = hub } }
end

return {
  kind = "topology",
  doc = "All nodes are linked with one hub, and with a second one that stands by.",
  options = {
    hub = { type = "string", default = "hub", doc = "label that is \"true\" on nodes preferred as the hub" },
  },

  links = function(world, options)
    local first, second
    for i, one in ipairs(world.members) do
      local candidate = { i = i, id = one.id, lot = hash(one.id), preferred = one.labels[options.hub] == "true" }
      if not first or better(candidate, first) then
        first, second = candidate, first
      elseif not second or better(candidate, second) then
        second = candidate
      end
    end
    local hubs, standbys = {}, {}
    for i = 1, #world.members do
      hubs[i], standbys[i] = first.i, second and second.i or 0
    end
    return { hubs = hubs, standbys = standbys }
  end,

  examples = {
    {
      given = { members = { member("a"), member("b", "true"), member("c", "true") } },
      expect = function(answer)
        local hub, standby = answer.hubs[1], answer.standbys[1]
        assert(hub ~= 1 and standby ~= 1 and hub ~= standby, "the two preferred ones")
        assert(answer.hubs[2] == hub and answer.hubs[3] == hub, "one for all")
      end,
    },
    { given = { members = { member("a") } }, expect = { hubs = { 1 }, standbys = { 0 } } },
  },
}
