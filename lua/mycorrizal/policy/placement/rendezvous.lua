-- Which members hold which hypha: each member draws a lot for each hypha, and the best lots hold it.
-- A member that joins or leaves moves only the hyphae that it wins or held: 1/n of them.

--- The lot that a member draws: spread evenly, and in proportion to its weight.
local function lot(seed, member, h)
  local fraction = ((hash(seed .. "/" .. member.id, h) >> 11) + 0.5) / (1 << 53)
  return -member.weight / math.log(fraction)
end

local function better(a, b)
  if a.lot ~= b.lot then return a.lot > b.lot end
  return a.id < b.id
end

local function holders(world, members, h)
  local lots = {}
  for i, member in ipairs(members) do
    lots[i] = { id = member.id, lot = lot(world.septum, member, h) }
  end
  local best = {}
  for _ = 1, math.min(world.copies, #members) do
    local first = 1
    for i = 2, #lots do
      if better(lots[i], lots[first]) then first = i end
    end
    best[#best + 1] = table.remove(lots, first).id
  end
  return best
end

--- Members with a weight above zero; all of them when there is none.
local function fit(members)
  local some = {}
  for _, member in ipairs(members) do
    local weight = member.weight or 1
    if weight > 0 then some[#some + 1] = { id = member.id, weight = weight } end
  end
  if #some > 0 then return some end
  for i, member in ipairs(members) do some[i] = { id = member.id, weight = 1 } end
  return some
end

local function member(id, weight)
  return { id = id, name = "node-" .. id, labels = {}, weight = weight or 1.0 }
end

return {
  kind = "placement",
  doc = "Rendezvous hashing: even in proportion to weight, and few moves when members change.",

  place = function(world)
    local members, map = fit(world.members), {}
    for h = 1, world.hyphae do map[h] = holders(world, members, h) end
    return map
  end,

  examples = {
    {
      given = { septum = "carts", hyphae = 2, copies = 2, members = { member("a") }, current = {} },
      expect = { { "a" }, { "a" } },
    },
    {
      given = {
        septum = "carts", hyphae = 64, copies = 2, members = { member("a"), member("b"), member("c") },
        current = {},
      },
      expect = function(map)
        local primaries = { a = 0, b = 0, c = 0 }
        for _, ids in ipairs(map) do
          assert(#ids == 2 and ids[1] ~= ids[2], "two different holders")
          primaries[ids[1]] = primaries[ids[1]] + 1
        end
        for id, count in pairs(primaries) do assert(count >= 8, id .. " has too few") end
      end,
    },
    {
      given = { septum = "carts", hyphae = 64, copies = 1, members = { member("a"), member("b", 0) }, current = {} },
      expect = function(map)
        for _, ids in ipairs(map) do assert(ids[1] == "a", "no weight, no hypha") end
      end,
    },
  },
}
