-- Who leads: whoever does already, else of the highest priority the candidate that leads least.

local function first(a, b, name)
  if (a.slow or false) ~= (b.slow or false) then return not a.slow end
  local p, q = a.priority or 0, b.priority or 0
  if p ~= q then return p > q end
  if a.leads ~= b.leads then return a.leads < b.leads end
  local x, y = hash(name .. "/" .. a.id), hash(name .. "/" .. b.id)
  if x ~= y then return math.ult(x, y) end
  return a.id < b.id
end

return {
  kind = "election",
  doc = "The holder stays while it is a candidate; else the highest priority, then the fewest leaderships.",

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
        name = "mycel", holder = "b", leaderships = { mycel = "b", nodosum = "b" },
        candidates = {
          { id = "a", name = "n1", labels = {}, leads = 0, priority = 9, slow = false },
          { id = "b", name = "n2", labels = {}, leads = 2, priority = 0, slow = false },
        },
      },
      expect = "b",
    },
    {
      given = {
        name = "mycel", holder = "gone", leaderships = { nodosum = "a" },
        candidates = {
          { id = "a", name = "n1", labels = {}, leads = 1, priority = 0, slow = false },
          { id = "b", name = "n2", labels = {}, leads = 0, priority = 0, slow = false },
        },
      },
      expect = "b",
    },
    {
      given = {
        name = "report", leaderships = {},
        candidates = {
          { id = "a", name = "n1", labels = {}, leads = 7, priority = 5, slow = false },
          { id = "b", name = "n2", labels = {}, leads = 0, priority = -1, slow = false },
        },
      },
      expect = "a",
    },
    { given = { name = "mycel", candidates = {}, leaderships = {} }, expect = function(id) return id == nil end },
  },
}
