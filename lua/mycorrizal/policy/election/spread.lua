-- Who leads a subsystem: whoever does already, else the candidate that leads least.

local function fewer(a, b, name)
  if a.leads ~= b.leads then return a.leads < b.leads end
  local x, y = hash(name .. "/" .. a.id), hash(name .. "/" .. b.id)
  if x ~= y then return math.ult(x, y) end
  return a.id < b.id
end

return {
  kind = "election",
  doc = "The holder stays while it is a candidate; else the candidate with the fewest leaderships.",

  elect = function(world)
    local best
    for _, candidate in ipairs(world.candidates) do
      if candidate.id == world.holder then return candidate.id end
      if not best or fewer(candidate, best, world.name) then best = candidate end
    end
    return best and best.id
  end,

  examples = {
    {
      given = {
        name = "mycel", holder = "b", leaderships = { mycel = "b", nodosum = "b" },
        candidates = {
          { id = "a", name = "n1", labels = {}, leads = 0 }, { id = "b", name = "n2", labels = {}, leads = 2 },
        },
      },
      expect = "b",
    },
    {
      given = {
        name = "mycel", holder = "gone", leaderships = { nodosum = "a" },
        candidates = {
          { id = "a", name = "n1", labels = {}, leads = 1 }, { id = "b", name = "n2", labels = {}, leads = 0 },
        },
      },
      expect = "b",
    },
    { given = { name = "mycel", candidates = {}, leaderships = {} }, expect = function(id) return id == nil end },
  },
}
