-- The last whole copy of some hyphae burns with its node. They are unavailable until an operator accepts the loss;
-- then an older copy, which came back meanwhile, goes on, and what only the burnt node had is lost. It would catch a
-- loss that is accepted while somebody has the data, an old copy that is thrown away although it is the best one
-- left, and hyphae that stay away for ever.

local cluster_module <const> = require "spec.support.cluster"
local helper <const> = require "spec.support.helper"

-- All hyphae on a and b, as far as they are there.
local PINNED <const> = [[
return {
  kind = "placement",
  doc = "On a and b.",
  place = function(world)
    local ids, targets = {}, {}
    for _, member in ipairs(world.members) do
      if member.name == "a" or member.name == "b" then ids[#ids + 1] = member.id end
    end
    if #ids == 0 then ids[1] = world.members[1].id end
    for hypha = 1, world.hyphae do targets[hypha] = ids end
    return targets
  end,
  examples = {
    { given = { septum = "s", hyphae = 1, copies = 1, current = {},
        members = { { id = "1", name = "a", labels = {} } } },
      expect = { { "1" } } },
  },
}
]]

describe("accept-loss", function()
  local cluster

  before_each(function()
    cluster = cluster_module.new({ "a", "b", "c", "d" }, { expect = 4 })
    cluster:start({ "a", "b", "c", "d" })
  end)

  after_each(function() cluster:close() end)

  local function in_sync(on, wanted)
    helper.wait_until("in sync: " .. wanted, 15, function()
      local list = cluster:ask(on, "hyphae") or {}
      for _, hypha in ipairs(list) do
        table.sort(hypha.in_sync)
        if table.concat(hypha.in_sync, ",") ~= wanted then return false end
      end
      return #list > 0
    end)
  end

  it("goes on with the copy that goes furthest", function()
    helper.wait_until("the feature", 10, function()
      for _, feature in ipairs(cluster:ask("c", "features") or {}) do
        if feature.feature == "accept_loss" then return feature.active end
      end
    end)
    helper.write(cluster.folder .. "/pinned.lua", PINNED)
    local applied = cluster:pulse("c", "policy", "apply", cluster.folder .. "/pinned.lua")
    assert.equal(0, applied.status, applied.err)
    assert.equal(0, cluster:pulse("c", "septum", "create", "orders", "--replicas", "1", "--hyphae", "2").status)
    in_sync("c", "a,b")
    assert.equal(0, cluster:pulse("c", "put", "orders", "old", "1").status)

    cluster:stop("b", "sigkill")
    in_sync("c", "a")
    assert.equal(0, cluster:pulse("c", "put", "orders", "new", "2").status)
    local early = cluster:pulse("c", "hypha", "accept-loss", "orders", "0", "--yes")
    assert.equal(2, early.status, early.out)
    assert.is_truthy(early.err:find("an in-sync member is alive", 1, true), early.err)

    -- c and d are a majority only once b does not count any more
    helper.wait_until("three voters", 15, function()
      local voters = 0
      for _, member in ipairs(cluster:ask("c", "nodes") or {}) do
        voters = voters + (member.role == "voter" and 1 or 0)
      end
      return voters == 3
    end)
    cluster:stop("a", "sigkill")
    helper.remove(cluster.nodes.a.data)
    cluster:start({ "b" }, { expect = false })
    local away
    helper.wait_until("a is away", 15, function()
      away = cluster:pulse("c", "hypha", "accept-loss", "orders", "--all-lost")
      return away.err:find("may come back", 1, true)
    end)
    assert.equal(2, away.status)
    local look = cluster:pulse("c", "hypha", "accept-loss", "orders", "--all-lost", "--dry-run")
    assert.equal(0, look.status, look.err)
    assert.is_truthy(look.out:find("a:dead", 1, true), look.out)
    local done
    helper.wait_until("accepted", 10, function() -- the old lease must be over for the leader, too
      done = cluster:pulse("c", "hypha", "accept-loss", "orders", "--all-lost", "--yes", "--reason", "burnt")
      return done.status == 0
    end)
    assert.is_truthy(done.out:find("b:", 1, true), done.out)

    assert.equal("1", cluster:pulse("d", "get", "orders", "old").out)
    assert.equal(1, cluster:pulse("d", "get", "orders", "new").status)
    assert.equal(0, cluster:pulse("d", "put", "orders", "new", "3").status)
    local events = cluster:pulse("d", "events", "--kind", "hyphae.loss_accepted")
    assert.is_truthy(events.out:find("burnt", 1, true), events.out)
    assert.is_truthy(cluster:pulse("c", "hypha", "accept-loss", "orders", "--all-lost").out:find("no hypha", 1, true))
  end)
end)
