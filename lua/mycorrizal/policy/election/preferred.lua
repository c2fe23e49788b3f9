-- Who leads: of the highest priority, then those with the label `preferred`; the holder only among equals. So what
-- somebody took over for a while goes back once the preferred one stands again. A `cooldown` of the campaign bounds how
-- often that can happen.

local function rank(candidate, label)
  return candidate.slow and -math.huge or candidate.priority or 0, candidate.labels[label] and 1 or 0
end

return {
  kind = "election",
  doc = "The highest priority leads, then who has the label; the holder stays among equals, then who leads least.",
  options = { label = { type = "string", default = "preferred", doc = "the label of those that shall lead" } },

  elect = function(world, options)
    local best, best_priority, best_label
    local function beats(candidate, priority, label)
      if not best then return true end
      if priority ~= best_priority then return priority > best_priority end
      if label ~= best_label then return label > best_label end
      if best.id == world.holder or candidate.id == world.holder then return candidate.id == world.holder end
      if candidate.leads ~= best.leads then return candidate.leads < best.leads end
      return candidate.id < best.id
    end
    for _, candidate in ipairs(world.candidates) do
      local priority, label = rank(candidate, options.label)
      if beats(candidate, priority, label) then best, best_priority, best_label = candidate, priority, label end
    end
    return best and best.id
  end,

  examples = {
    {
      given = {
        name = "report", holder = "a", leaderships = {},
        candidates = {
          { id = "a", name = "n1", labels = {}, leads = 1, priority = 0, slow = false },
          { id = "b", name = "n2", labels = {}, leads = 5, priority = 3, slow = false },
        },
      },
      expect = "b",
    },
    {
      given = {
        name = "report", holder = "a", leaderships = {},
        candidates = {
          { id = "a", name = "n1", labels = {}, leads = 1, priority = 0, slow = false },
          { id = "b", name = "n2", labels = { preferred = "true" }, leads = 5, priority = 0, slow = false },
        },
      },
      expect = "b",
    },
    {
      given = {
        name = "report", holder = "b", leaderships = {},
        candidates = {
          { id = "a", name = "n1", labels = {}, leads = 0, priority = 2, slow = false },
          { id = "b", name = "n2", labels = {}, leads = 5, priority = 2, slow = false },
        },
      },
      expect = "b",
    },
    { given = { name = "report", candidates = {}, leaderships = {} }, expect = function(id) return id == nil end },
  },
}
