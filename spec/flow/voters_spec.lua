-- The consensus group looks after itself: a voter that dies is replaced by a stand-by, one change at a time, and a
-- member that was removed for ever is refused with the reason when it comes back with its old folder. It would catch
-- a dead voter that stays counted, and a removed node that slips in again.

local cluster_module <const> = require "spec.support.cluster"
local helper <const> = require "spec.support.helper"

describe("the consensus group", function()
  local cluster

  before_each(function()
    cluster = cluster_module.new({ "a", "b", "c", "d" }, { expect = 4 })
    cluster:start({ "a", "b", "c", "d" })
  end)

  after_each(function() cluster:close() end)

  local function roles(name)
    local found = {}
    for _, member in ipairs(cluster:ask(name, "nodes") or {}) do
      if member.role then found[member.name] = member.role end
    end
    return found
  end

  local function count(found, role)
    local total = 0
    for _, is in pairs(found) do total = total + (is == role and 1 or 0) end
    return total
  end

  it("replaces a dead voter, which then can be removed for ever", function()
    local source = helper.build .. "/share/mycorrizal/lua/mycorrizal/policy/voters/odd.lua"
    local file <close> = assert(io.open(source))
    local quick = file:read("a"):gsub("5000", "1000")
    helper.write(cluster.folder .. "/quick.lua", quick)
    assert.equal(0, cluster:pulse("a", "policy", "apply", cluster.folder .. "/quick.lua").status)

    -- four nodes that formed a cluster all vote; one that dies leaves three
    cluster:stop("d", "sigkill")
    local left = helper.wait_until("three voters", 15, function()
      local found = roles("a")
      return count(found, "voter") == 3 and found.d ~= "voter" and found
    end)
    assert.is_truthy(left.a == "voter" and left.b == "voter" and left.c == "voter")

    local refused = cluster:pulse("a", "remove", "b")
    assert.equal(2, refused.status)
    assert.is_truthy(refused.err:find("stop it first", 1, true))
    assert.equal(0, cluster:pulse("a", "remove", "d").status)
    cluster:spawn("d")
    assert.not_equal(0, cluster:wait_end("d"))
    assert.is_truthy(cluster:log("d"):find("was removed from the cluster for ever", 1, true))
    helper.remove(cluster.nodes.d.data)
    cluster:start({ "d" })
    helper.wait_until("a new member", 5, function() return roles("a").d end)
  end)
end)
