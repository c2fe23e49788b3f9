-- A majority of the voters is lost for good, disks and all: the survivor is made a cluster of its own, fresh nodes join
-- it, and what was acknowledged and lay on the survivor is there. It would catch a recovery that loses entries of the
-- log, that runs while a majority may live, and a lost node that comes back into the group.

local cluster_module <const> = require "spec.support.cluster"
local helper <const> = require "spec.support.helper"
local task <const> = require "mycorrizal.task"

describe("recover", function()
  local cluster

  before_each(function()
    cluster = cluster_module.new({ "a", "b", "c" }, { expect = 3 })
    cluster:start({ "a", "b", "c" })
  end)

  after_each(function() cluster:close() end)

  local function recover(name, ...)
    local argv = { helper.build .. "/bin/mycorrizal", "recover", "--data", cluster.nodes[name].data, ... }
    local process = helper.spawn(argv)
    local status = assert(task.deadline(15, function() return process:wait_end() end))
    return { status = status, out = process.out, err = process.err }
  end

  it("makes a cluster of the survivor, with all that it had", function()
    assert.equal(0, cluster:pulse("a", "septum", "create", "orders", "--kind", "durable", "--replicas", "2",
      "--hyphae", "4").status)
    helper.wait_until("three copies", 10, function()
      local all = true
      for _, hypha in ipairs(cluster:ask("a", "hyphae") or {}) do all = all and #hypha.in_sync == 3 end
      return all
    end)
    helper.wait_until("features", 10, function()
      for _, feature in ipairs(cluster:ask("a", "features")) do
        if not feature.active then return false end
      end
      return true
    end)
    for i = 1, 20 do
      assert.equal(0, cluster:pulse(i % 2 == 0 and "a" or "b", "put", "orders", "k" .. i, "v" .. i).status)
    end
    local epoch = cluster:ask("c", "leaders")[1].epoch

    local running = recover("c", "--lost", "a,b")
    assert.equal(1, running.status)
    cluster:stop("c", "sigkill")
    local alive = recover("c", "--lost", "a,b")
    assert.equal(1, alive.status)
    assert.is_truthy(alive.err:find("answers at its address", 1, true), alive.err)
    for _, name in ipairs({ "a", "b" }) do
      cluster:stop(name, "sigkill")
      os.rename(cluster.nodes[name].data, cluster.nodes[name].data .. ".old")
    end

    local unnamed = recover("c", "--lost", "a")
    assert.equal(1, unnamed.status)
    assert.is_truthy(unnamed.err:find("the voter 'b' is not named", 1, true), unnamed.err)
    local dry = recover("c", "--dry-run")
    assert.equal(0, dry.status, dry.err)
    assert.is_truthy(dry.out:find("last log entry  term %d+ index %d+"))
    local done = recover("c", "--lost", "a,b")
    assert.equal(0, done.status, done.err)

    cluster:start({ "c" }, { expect = false })
    cluster:start({ "a", "b" }, { expect = false })
    for i = 1, 20 do
      local got = cluster:pulse("a", "get", "orders", "k" .. i)
      assert.equal("v" .. i, got.out, got.err)
    end
    assert.equal(0, cluster:pulse("b", "put", "orders", "new", "1").status)
    assert.is_true(cluster:ask("c", "leaders")[1].epoch >> 48 > epoch >> 48)

    -- a lost node that turns up after all is told that it is none any more
    cluster:stop("b", "sigkill")
    helper.remove(cluster.nodes.b.data)
    os.rename(cluster.nodes.b.data .. ".old", cluster.nodes.b.data)
    cluster:spawn("b", { expect = false })
    assert.not_equal(0, cluster:wait_end("b"))
    assert.is_truthy(cluster:log("b"):find("was removed from the cluster for ever", 1, true))
  end)
end)
