-- Who votes in the consensus: an odd number, at most five. Voters that are there stay; new ones come from the zone with
-- the fewest voters, stand-bys first, then those with the least load; slow ones only when no other is left. A living
-- voter is demoted only when there are more than allowed: an even number is kept while a replacement is missing, for
-- each demotion makes the log live on fewer disks. A dead voter is replaced after `dead_voter_ms`, once a stand-by has
-- the log.

local LOAD_MAX <const> = 1 << 20
local SLOW <const> = 1 << 20 -- more than there can be voters in a zone

local function roles(current)
  local by_id = {}
  for _, server in ipairs(current) do by_id[server.id] = server.role end
  return by_id
end

local function zone(member, label)
  return member.labels[label] or ""
end

--- The best of those not taken: not slow, fewest voters in its zone, stand-bys, the least load, the lowest
--- id. A stand-by does not lose its place for being slow: it would be back soon, and copy the log again.
local function pick(members, taken, zones, role, label, place_of)
  local best, best_rank
  for _, member in ipairs(members) do
    if not taken[member.id] then
      local place = 2 * (zones[zone(member, label)] or 0) + (role[member.id] == "standby" and 0 or 1)
      local late = member.slow and not (place_of == "standby" and role[member.id] == "standby")
      local rank = (place + (late and SLOW or 0)) * LOAD_MAX + math.min(member.load or 0, LOAD_MAX - 1)
      if not best or rank < best_rank then best, best_rank = member, rank end
    end
  end
  return best
end

local function take(list, member, taken, zones, label)
  list[#list + 1] = member.id
  taken[member.id] = true
  zones[zone(member, label)] = (zones[zone(member, label)] or 0) + 1
end

--- The largest odd number of voters that there can be.
local function target(world)
  local most = math.min(#world.members, world.voters_max)
  return most % 2 == 0 and math.max(most - 1, 0) or most
end

local function member(id, where, load, slow)
  return { id = id, name = "node-" .. id, labels = { zone = where }, load = load, slow = slow }
end

return {
  kind = "voters",
  doc = "An odd number of voters up to the maximum, spread over zones; present voters stay.",
  options = { spread = { type = "string", default = "zone", doc = "label over which voters are spread" },
    dead_voter_ms = { type = "integer", default = 5000, doc = "after which a dead voter is replaced, 1,000 or more" },
  },

  choose = function(world, options)
    local role, label = roles(world.current or {}), options.spread
    local voters, standbys, taken, zones = {}, {}, {}, {}
    for _, candidate in ipairs(world.members) do
      if role[candidate.id] == "voter" and #voters < world.voters_max then
        take(voters, candidate, taken, zones, label)
      end
    end
    while #voters < target(world) do
      take(voters, pick(world.members, taken, zones, role, label, "voter"), taken, zones, label)
    end
    while #standbys < world.standbys_max and #voters + #standbys < #world.members do
      take(standbys, pick(world.members, taken, zones, role, label, "standby"), taken, zones, label)
    end
    return { voters = voters, standbys = standbys, dead_voter_ms = options.dead_voter_ms }
  end,

  examples = {
    {
      given = { voters_max = 5, standbys_max = 2, members = { member("a") }, current = {} },
      expect = { voters = { "a" }, standbys = {}, dead_voter_ms = 5000 },
    },
    {
      given = {
        voters_max = 5, standbys_max = 2, members = { member("a"), member("b"), member("c"), member("d") },
        current = { { id = "b", role = "voter" }, { id = "d", role = "standby" } },
      },
      expect = { voters = { "b", "d", "a" }, standbys = { "c" }, dead_voter_ms = 5000 },
    },
    {
      given = {
        voters_max = 3, standbys_max = 0, current = { { id = "a", role = "voter" } },
        members = { member("a", "x"), member("b", "x"), member("c", "y"), member("d", "z") },
      },
      expect = { voters = { "a", "c", "d" }, standbys = {}, dead_voter_ms = 5000 },
    },
    {
      given = {
        voters_max = 3, standbys_max = 0, current = {},
        members = { member("a", "x", 90), member("b", "x", 10), member("c", "y", 5), member("d", "z", 7) },
      },
      expect = { voters = { "c", "d", "b" }, standbys = {}, dead_voter_ms = 5000 },
    },
    {
      given = {
        voters_max = 3, standbys_max = 1, current = { { id = "a", role = "voter" }, { id = "d", role = "standby" } },
        members = {
          member("a", "x", 0, true), member("b", "x", 9), member("c", "y", 0, true), member("d", "z", 0, true),
          member("e", "y", 5),
        },
      },
      expect = { voters = { "a", "e", "b" }, standbys = { "d" }, dead_voter_ms = 5000 },
    },
    {
      given = {
        voters_max = 5, standbys_max = 2, members = { member("a"), member("b") },
        current = { { id = "a", role = "voter" }, { id = "b", role = "voter" }, { id = "gone", role = "voter" } },
      },
      expect = { voters = { "a", "b" }, standbys = {}, dead_voter_ms = 5000 },
    },
  },
}
