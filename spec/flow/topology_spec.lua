-- A topology applied to a living cluster: eight processes, all linked with each other at first; then two cohorts,
-- each a star around a hub. It would catch a node that is not reached any more, an event that does not come over
-- hubs, an acknowledged write that is lost, a hub's death that leaves its cohort alone, and a node that keeps its
-- connections.

local cluster_module <const> = require "spec.support.cluster"
local helper <const> = require "spec.support.helper"

local NAMES <const> = { "a", "b", "c", "d", "e", "f", "g", "h" }
local STARS <const> = "lua/mycorrizal/policy/topology/cohort-stars.lua"

describe("cohort stars", function()
  local cluster

  local function alive()
    local names = {}
    for _, name in ipairs(NAMES) do
      if not cluster.nodes[name].away then names[#names + 1] = name end
    end
    return names
  end

  -- The paths from each node to each other: how many there are of each kind.
  local function paths()
    local count = { direct = 0, hubs = 0, none = 0 }
    for _, name in ipairs(alive()) do
      for _, peer in ipairs(cluster:ask(name, "topology") or {}) do count[peer.path] = count[peer.path] + 1 end
    end
    return count
  end

  local function all_reached(n)
    local count = paths()
    return count.none == 0 and count.direct + count.hubs == n * (n - 1) and count
  end

  -- As another node sees it.
  local function hub_of(name)
    for _, asked in ipairs(alive()) do
      for _, peer in ipairs(cluster:ask(asked, "topology") or {}) do
        if peer.name == name then return peer.hub end
      end
    end
  end

  local function put_all(prefix)
    for i = 1, 12 do
      local name = alive()[i % #alive() + 1]
      local key = prefix .. i
      helper.wait_until("the write of " .. key, 10, function()
        return cluster:pulse(name, "put", "orders", key, "v" .. i).status == 0
      end)
    end
  end

  local function all_there(prefix)
    for i = 1, 12 do
      local got
      helper.wait_until("the read of " .. prefix .. i, 10, function()
        got = cluster:pulse(alive()[1], "get", "orders", prefix .. i)
        return got.status == 0
      end)
      assert.equal("v" .. i, (got.out:gsub("%s+$", "")))
    end
  end

  -- Every node listens; one publishes; all hear it.
  local function events_reach_all(from)
    local listeners = {}
    for _, name in ipairs(alive()) do
      listeners[name] = helper.spawn({
        helper.build .. "/bin/pulse", "--connect", cluster.nodes[name].socket, "sub", "news.*", "--count", "1",
      }, {})
    end
    helper.wait_until("everybody to hear it", 15, function()
      cluster:pulse(from, "pub", "news.today", "hello")
      for _, listener in pairs(listeners) do
        if not listener.out:find("hello", 1, true) then return false end
      end
      return true
    end)
    for _, listener in pairs(listeners) do listener:kill("sigkill") end
  end

  before_each(function()
    cluster = cluster_module.new(NAMES, { expect = 3 })
    for i, name in ipairs(NAMES) do
      cluster:spawn(name, { args = { "--labels", i <= 4 and "cohort=x" or "cohort=y" } })
    end
    for _, name in ipairs(NAMES) do cluster:wait_ready(name) end
  end)

  after_each(function() cluster:close() end)

  it("keep few connections, and everybody is reached, also when a hub is killed", function()
    assert.equal(0, cluster:pulse("a", "septum", "create", "orders", "--replicas", "2", "--kind", "durable").status)
    put_all("mesh-")
    local before = helper.wait_until("a mesh", 10, function() return all_reached(8) end)
    assert.equal(56, before.direct)

    assert.equal(0, cluster:pulse("a", "policy", "try", STARS).status)
    assert.equal(0, cluster:pulse("a", "policy", "apply", STARS).status)
    local after = helper.wait_until("stars", 20, function()
      local count = all_reached(8)
      return count and count.hubs > 0 and count.direct < 50 and count
    end)
    assert.is_true(after.direct < before.direct)
    all_there("mesh-")
    put_all("stars-")
    all_there("stars-")
    events_reach_all("c")

    local hub = hub_of("e")
    cluster.nodes[hub].away = true
    cluster:stop(hub, "sigkill")
    helper.wait_until("another hub, and everybody reached", 20, function()
      local probe = hub == "e" and "f" or "e"
      return all_reached(7) and hub_of(probe) ~= hub and hub_of(probe) ~= ""
    end)
    all_there("mesh-")
    all_there("stars-")
    put_all("after-")
    all_there("after-")
    events_reach_all("h")
  end)
end)
