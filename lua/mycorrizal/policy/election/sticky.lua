-- Who leads: whoever does already; what is free goes where its name belongs, whatever else is led there. So a name
-- comes back to the node that has its files and caches, and its priority only decides among those that are there.

local function first(a, b, name)
  if (a.slow or false) ~= (b.slow or false) then return not a.slow end
  local p, q = a.priority or 0, b.priority or 0
  if p ~= q then return p > q end
  local x, y = hash(name .. "/" .. a.name), hash(name .. "/" .. b.name)
  if x ~= y then return math.ult(x, y) end
  return a.id < b.id
end

return {
  kind = "election",
  doc = "The holder stays; what is free goes to the highest priority, then always to the same node for the same name.",

  elect = function(world)
    local best
    for _, candidate in ipairs(world.candidates) do
      if candidate.id == world.holder then return candidate.id end
      if not best or first(candidate, best, world.name) then best = candidate end
    end
    return best and best.id
  end,

  examples = {
    {
      given = {
        name = "index", holder = "b", leaderships = {},
        candidates = {
          { id = "a", name = "n1", labels = {}, leads = 0, priority = 9, slow = false },
          { id = "b", name = "n2", labels = {}, leads = 5, priority = 0, slow = false },
        },
      },
      expect = "b",
    },
    {
      given = {
        name = "index", leaderships = {},
        candidates = {
          { id = "a", name = "n1", labels = {}, leads = 0, priority = 0, slow = false },
          { id = "b", name = "n2", labels = {}, leads = 5, priority = 1, slow = false },
        },
      },
      expect = "b",
    },
    { given = { name = "index", candidates = {}, leaderships = {} }, expect = function(id) return id == nil end },
  },
}
