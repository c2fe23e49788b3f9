local policies = require "mycorrizal.policies"
local declare = require "mycorrizal.declare"

local FILES = {
  placement = { "rendezvous", "zone-aware" }, election = { "spread", "sticky", "preferred" }, voters = { "odd" },
  persistence = { "steady", "every-second", "scheduled" },
}

local function member(id, zone)
  return { id = id, name = "n" .. id, labels = { zone = zone }, weight = 1.0 }
end

local function ask(kind, name, world)
  return assert(policies.ask(kind, name, assert(declare.find_policy(kind, name)), world))
end

for kind, names in pairs(FILES) do
  for _, name in ipairs(names) do
    describe(("the policy %s/%s"):format(kind, name), function()
      it("keeps the contract, and its examples hold", function()
        local source = assert(declare.find_policy(kind, name))
        assert.is_true(assert(policies.check(kind, name, source)))
        local about = policies.describe(name, source)
        assert.equal(kind, about.kind)
        assert.is_true(#about.doc > 20)
      end)
    end)
  end
end

describe("placement by rendezvous", function()
  it("moves only what a lost member held", function()
    local world = {
      septum = "s", hyphae = 64, copies = 2, current = {}, members = { member("a"), member("b"), member("c") },
    }
    local before = ask("placement", "rendezvous", world)
    table.remove(world.members, 2)
    local after = ask("placement", "rendezvous", world)
    for h = 1, 64 do
      if before[h][1] ~= "b" then assert.equal(before[h][1], after[h][1]) end
    end
  end)

  it("gives a member of twice the weight about twice as much", function()
    local world = { septum = "s", hyphae = 900, copies = 1, current = {}, members = { member("a"), member("b") } }
    world.members[2].weight = 2.0
    local count = 0
    for _, holders in ipairs(ask("placement", "rendezvous", world)) do
      if holders[1] == "b" then count = count + 1 end
    end
    assert.is_true(count > 540 and count < 660, count)
  end)
end)

-- Would catch: a policy that moves what it shall leave, or leaves what it shall move.
describe("elections", function()
  local function candidate(id, more)
    local made = { id = id, name = "n" .. id, labels = {}, leads = 0, priority = 0, slow = false }
    for key, item in pairs(more or {}) do made[key] = item end
    return made
  end

  local function elect(name, holder, ...)
    return ask("election", name, { name = "job", holder = holder, leaderships = {}, candidates = { ... } })
  end

  it("leave the holder where it is, by spread and sticky", function()
    for _, name in ipairs { "spread", "sticky" } do
      assert.equal("b", elect(name, "b", candidate("a", { priority = 5 }), candidate("b", { leads = 9 })))
      assert.equal("a", elect(name, nil, candidate("a", { priority = 5, leads = 9 }), candidate("b")))
    end
  end)

  it("bring a name back to the same node by sticky, whatever is led there", function()
    local before = elect("sticky", nil, candidate("a"), candidate("b"), candidate("c"))
    for leads = 1, 5 do
      local list = { candidate("a"), candidate("b"), candidate("c") }
      for _, one in ipairs(list) do
        if one.id == before then one.leads = leads end
      end
      assert.equal(before, elect("sticky", nil, table.unpack(list)))
    end
  end)

  it("move by preferred to the highest priority, then to the label, and not among equals", function()
    assert.equal("a", elect("preferred", "b", candidate("a", { priority = 1 }), candidate("b", { leads = 1 })))
    assert.equal("a", elect("preferred", "b", candidate("a", { labels = { preferred = "true" } }), candidate("b")))
    assert.equal("b", elect("preferred", "b", candidate("a"), candidate("b", { leads = 9 })))
    assert.equal("b", elect("preferred", "a", candidate("a", { priority = -1 }), candidate("b")))
    assert.equal("b", elect("preferred", "a", candidate("a", { priority = 9, slow = true }), candidate("b")))
  end)
end)

describe("placement with zones", function()
  it("never puts two copies into one zone of two", function()
    local world = {
      septum = "s", hyphae = 64, copies = 2, current = {},
      members = { member("a", "x"), member("b", "x"), member("c", "y"), member("d", "y") },
    }
    local zone = { a = "x", b = "x", c = "y", d = "y" }
    for _, holders in ipairs(ask("placement", "zone-aware", world)) do
      assert.not_equal(zone[holders[1]], zone[holders[2]])
    end
  end)
end)

describe("voters", function()
  it("are an odd number, from as many zones as there are, and stay", function()
    local world = {
      voters_max = 3, standbys_max = 2, current = { { id = "b", role = "voter" } },
      members = { member("a", "x"), member("b", "x"), member("c", "y"), member("d", "z"), member("e", "z") },
    }
    local chosen = ask("voters", "odd", world)
    assert.same({ "b", "c", "d" }, chosen.voters)
    assert.same(2, #chosen.standbys)
  end)
end)

describe("policies from their source", function()
  it("are refused with a reason", function()
    local ok, message, code = policies.check("placement", "mine", "return {}")
    assert.is_nil(ok)
    assert.equal("policy placement/mine: does not say its kind", message)
    assert.equal("EPOLICY", code)
  end)

  it("raise for a kind that is none", function()
    assert.has_error(function() policies.check("weather", "x", "") end)
  end)
end)
