-- A rolling upgrade: three nodes of the version before, stopped and started anew with this one, one after the other,
-- while a client writes. It would catch a command or a message that the older version does not understand, a feature
-- that becomes active too early, and a node of the older version that joins afterwards without being told why it can't.
--
-- `mycorrizal-previous` is this build with all features masked; SPEC_PREVIOUS names another program, such as one
-- that was built from an older commit.

local cluster_module <const> = require "spec.support.cluster"
local helper <const> = require "spec.support.helper"
local task <const> = require "mycorrizal.task"

local PREVIOUS <const> = os.getenv("SPEC_PREVIOUS") or helper.build .. "/bin/mycorrizal-previous"

describe("a rolling upgrade", function()
  local cluster, written, writer

  -- Writes on and on by whichever node is there; what was acknowledged is kept in `written`.
  local function write_on()
    local at = 0
    while true do
      at = at + 1
      local key = "k" .. at
      for _, name in ipairs({ "a", "b", "c" }) do
        if not cluster.nodes[name].away and cluster:pulse(name, "put", "orders", key, "v" .. at).status == 0 then
          written[key] = "v" .. at
          break
        end
      end
    end
  end

  local function active(name)
    for _, feature in ipairs(cluster:ask(name, "features") or {}) do
      if feature.feature == "features" then return feature.active, feature.lacking end
    end
  end

  before_each(function()
    written = {}
    cluster = cluster_module.new({ "a", "b", "c", "d" }, { expect = 3 })
    cluster:start({ "a", "b", "c" }, { program = PREVIOUS })
    assert.equal(0, cluster:pulse("a", "septum", "create", "orders", "--replicas", "1", "--kind", "durable").status)
    writer = task.start(write_on)
  end)

  after_each(function()
    writer:cancel()
    cluster:close()
  end)

  local function upgrade(name)
    cluster.nodes[name].away = true
    cluster:stop(name)
    cluster:start({ name })
    cluster.nodes[name].away = nil
  end

  it("loses no write, and switches features on after the last node", function()
    upgrade("a")
    local is_active, lacking = active("a")
    assert.is_false(is_active)
    table.sort(lacking)
    assert.same({ "b", "c" }, lacking)
    upgrade("b")
    assert.is_false((active("a")))
    upgrade("c")
    helper.wait_until("the feature to be active", 5, function() return active("a") and active("c") end)

    helper.wait_until("some more writes", 5, function() return written.k20 end)
    writer:cancel()
    local count, found = 0, {}
    for line in cluster:pulse("b", "scan", "orders").out:gmatch("[^\n]+") do
      local key, value = line:match("^(%S+)%s+(.+)$")
      found[key] = value
    end
    for key, value in pairs(written) do
      count = count + 1
      assert.equal(value, found[key])
    end
    assert.is_true(count >= 20)

    -- the older version can't join any more, and is told what to do
    cluster:spawn("d", { program = PREVIOUS })
    if os.getenv("SPEC_PREVIOUS") then -- it may be too old to be told anything: the cluster says it
      helper.wait_until("the refusal", 10, function()
        return (cluster:log("a") .. cluster:log("b") .. cluster:log("c")):find("a command is refused", 1, true)
      end)
    else
      assert.not_equal(0, cluster:wait_end("d"))
      assert.is_truthy(cluster:log("d"):find("start it with the cluster's version", 1, true))
    end
  end)

  it("goes on without a dead node of the older version, once an operator removed it", function()
    cluster.nodes.c.away = true
    cluster:stop("c", "sigkill")
    upgrade("a")
    upgrade("b")
    assert.is_false(active("a"))
    local removed
    helper.wait_until("c is removed", 20, function()
      local leader = cluster:ask("a", "status").leader
      if leader ~= "a" and leader ~= "b" then return false end
      local other = cluster:pulse(leader == "a" and "b" or "a", "remove", "c")
      assert.is_truthy(other.status ~= 0 and other.err:find("remove:", 1, true), other.err)
      removed = cluster:pulse(leader, "remove", "c")
      return removed.status == 0
    end)
    helper.wait_until("features", 20, function() return active("a") and active("b") end)
  end)
end)
