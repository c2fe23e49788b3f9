-- As rendezvous hashing, but copies of a hypha lie in different zones while there is another zone.

local function lot(seed, id, weight, h)
  local fraction = ((hash(seed .. "/" .. id, h) >> 11) + 0.5) / (1 << 53)
  return -weight / math.log(fraction)
end

--- Members in the order of their lots for this hypha, best first.
local function ranking(world, h, label)
  local ranked = {}
  for i, member in ipairs(world.members) do
    local weight = math.max(member.weight or 1, 1e-9)
    ranked[i] = { id = member.id, zone = member.labels[label] or "", lot = lot(world.septum, member.id, weight, h) }
  end
  table.sort(ranked, function(a, b) return a.lot > b.lot end)
  return ranked
end

--- One from each zone by rank; when the zones are used up, they are all open again.
local function holders(ranked, copies)
  local ids, taken, used = {}, {}, {}
  while #ids < math.min(copies, #ranked) do
    local found = false
    for i, candidate in ipairs(ranked) do
      if #ids < copies and not taken[i] and not used[candidate.zone] then
        taken[i], used[candidate.zone], found = true, true, true
        ids[#ids + 1] = candidate.id
      end
    end
    if not found then used = {} end
  end
  return ids
end

local function member(id, zone)
  return { id = id, name = "node-" .. id, labels = { zone = zone }, weight = 1.0 }
end

return {
  kind = "placement",
  doc = "Rendezvous hashing; never two copies in one zone while there is another zone.",
  options = { spread = { type = "string", default = "zone", doc = "label in which copies must differ" } },

  place = function(world, options)
    local map = {}
    for h = 1, world.hyphae do map[h] = holders(ranking(world, h, options.spread), world.copies) end
    return map
  end,

  examples = {
    {
      given = {
        septum = "carts", hyphae = 64, copies = 2, current = {},
        members = { member("a", "x"), member("b", "x"), member("c", "y") },
      },
      expect = function(map)
        for _, ids in ipairs(map) do
          assert(#ids == 2, "two copies")
          assert(ids[1] == "c" or ids[2] == "c", "one of them in zone y")
        end
      end,
    },
    {
      given = {
        septum = "carts", hyphae = 8, copies = 2, current = {}, members = { member("a", "x"), member("b", "x") },
      },
      expect = function(map)
        for _, ids in ipairs(map) do assert(#ids == 2, "one zone only is no reason for one copy only") end
      end,
    },
  },
}
