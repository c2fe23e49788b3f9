-- Cohorts of nodes form stars: each node is linked with the hub of its cohort, and with one that stands by; hubs are
-- linked with each other. A cohort is what bears the same label, else one of about √n groups by hash. The hub is chosen
-- among those who are there, so that when it is lost, all come to the same next one: who stood by.

--- How many groups for so many nodes: a power of two near √n, so that groups change only when n doubles or halves.
local function group_count(n)
  local count = 1
  while count * count * 2 < n do count = count * 2 end
  return count
end

local function unlabelled(members, label)
  local n = 0
  for _, member in ipairs(members) do
    if not member.labels[label] then n = n + 1 end
  end
  return n
end

--- Preferred by label, then by lot; ids decide where lots are equal.
local function better(a, b)
  if a.preferred ~= b.preferred then return a.preferred end
  if a.lot ~= b.lot then return math.ult(a.lot, b.lot) end
  return a.id < b.id
end

--- The best two of each cohort, and each member's cohort.
local function form(members, options)
  local groups = group_count(unlabelled(members, options.label))
  local cohorts, of = {}, {}
  for i, member in ipairs(members) do
    local lot = hash(member.id)
    local key = member.labels[options.label] or ((lot >> 8) & (groups - 1))
    local cohort = cohorts[key] or {}
    cohorts[key], of[i] = cohort, cohort
    local candidate = { i = i, id = member.id, lot = lot, preferred = member.labels[options.hub] == "true" }
    if not cohort.first or better(candidate, cohort.first) then
      cohort.first, cohort.second = candidate, cohort.first
    elseif not cohort.second or better(candidate, cohort.second) then
      cohort.second = candidate
    end
  end
  return of
end

local function member(id, cohort, hub)
  return { id = id, name = "node-" .. id, labels = { cohort = cohort, hub = hub } }
end

local function many(n)
  local members = {}
  for i = 1, n do members[i] = member(("%016x"):format(i)) end
  return members
end

return {
  kind = "topology",
  doc = "Cohorts form stars around a hub, hubs are linked with each other; a second hub of each cohort stands by.",
  options = {
    label = { type = "string", default = "cohort", doc = "label whose value names the cohort" },
    hub = { type = "string", default = "hub", doc = "label that is \"true\" on nodes preferred as hubs" },
    standby = { type = "boolean", default = true, doc = "each node keeps a link to a second hub, too" },
  },

  links = function(world, options)
    local hubs, standbys = {}, {}
    for i, cohort in ipairs(form(world.members, options)) do
      hubs[i] = cohort.first.i
      standbys[i] = options.standby and cohort.second and cohort.second.i or 0
    end
    return { hubs = hubs, standbys = standbys }
  end,

  examples = {
    { given = { members = { member("a") } }, expect = { hubs = { 1 }, standbys = { 0 } } },
    {
      given = { members = { member("a", "x"), member("b", "x", "true"), member("c", "y"), member("d", "x") } },
      expect = function(answer)
        assert(answer.hubs[1] == 2 and answer.hubs[2] == 2 and answer.hubs[4] == 2, "the preferred one is the hub")
        assert(answer.hubs[3] == 3 and answer.standbys[3] == 0, "a cohort of one is its own hub")
        assert(answer.standbys[1] == answer.standbys[4] and answer.standbys[1] ~= 2, "another stands by")
      end,
    },
    {
      given = { members = many(64) },
      expect = function(answer)
        local hubs, count = {}, 0
        for _, hub in ipairs(answer.hubs) do
          assert(answer.hubs[hub] == hub, "a hub is its own hub")
          if not hubs[hub] then hubs[hub], count = true, count + 1 end
        end
        assert(count >= 4 and count <= 12, "about √n hubs")
      end,
    },
  },
}
