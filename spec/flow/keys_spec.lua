-- The key that seals gossip, changed while clients write: installed, used, the old one removed. It would catch a member
-- that is suspected meanwhile, a write that fails, a restart that comes back with the old key, a newcomer with a key of
-- the ring that is not let in, and one with another key that is.

local cluster_module <const> = require "spec.support.cluster"
local helper <const> = require "spec.support.helper"
local task <const> = require "mycorrizal.task"

describe("a change of gossip's key", function()
  local cluster, written, failed, writer, key_files, keys

  local function new_key(name)
    local process = helper.spawn({ helper.build .. "/bin/mycorrizal", "keygen" })
    process:wait_end()
    keys[name] = process.out:match("%S+")
    key_files[name] = helper.write(cluster.folder .. "/" .. name .. ".key", process.out)
    return { args = { "--key", key_files[name] } }
  end

  local function write_on()
    while true do
      written = written + 1
      if cluster:pulse("a", "put", "orders", "k" .. written, "v").status ~= 0 then failed = failed + 1 end
    end
  end

  local function ring(name)
    local ids = {}
    for i, key in ipairs(assert(cluster:ask(name, "keys", "list"))) do ids[i] = key.id end
    return ids
  end

  local function await_ring(count)
    helper.wait_until(("%d keys everywhere"):format(count), 10, function()
      return #ring("a") == count and #ring("b") == count and #ring("c") == count
    end)
  end

  local function await_first(id)
    helper.wait_until(id .. " to seal everywhere", 10, function()
      return ring("a")[1] == id and ring("b")[1] == id and ring("c")[1] == id
    end)
  end

  local function metric(name, wanted)
    for _, one in ipairs(assert(cluster:ask(name, "metrics"))) do
      if one.name == wanted then return one.value end
    end
  end

  local function change(...)
    local ended = cluster:pulse("b", "keys", ...)
    assert.equal(0, ended.status, ended.err)
  end

  before_each(function()
    written, failed, key_files, keys = 0, 0, {}, {}
    cluster = cluster_module.new({ "a", "b", "c", "d", "e" }, { expect = 3 })
    cluster:start({ "a", "b", "c" }, new_key("old"))
    assert.equal(0, cluster:pulse("a", "septum", "create", "orders", "--replicas", "1").status)
    helper.wait_until("the feature to be active", 10, function()
      return cluster:pulse("a", "features").out:find("keyring +yes")
        or cluster:log("a"):find("feature keyring is active")
    end)
    writer = task.start(write_on)
  end)

  after_each(function()
    writer:cancel()
    cluster:close()
  end)

  it("suspects nobody, fails no write, outlasts a restart, and keeps strangers out", function()
    local old = ring("a")[1]
    new_key("new")
    assert.equal(64, cluster:pulse("b", "keys", "install").status)
    change("install", keys.new)
    await_ring(2)
    local new = ring("a")[2]
    assert.matches("seals: use another one first", cluster:pulse("b", "keys", "remove", old).err)
    change("use", new)
    await_first(new)
    cluster:start({ "d" }, { args = { "--key", key_files.old } }) -- one of the ring, though no longer the first
    change("remove", old)
    await_ring(1)
    helper.wait_until("d to have the ring", 10, function() return ring("d")[1] == new and #ring("d") == 1 end)
    for _, name in ipairs({ "a", "b", "c", "d" }) do
      assert.is_nil(cluster:log(name):find("state=suspect"), name .. " suspected somebody")
    end
    assert.equal(0, failed)
    assert.is_true(written > 0)

    cluster:stop("c") -- its file has the old key only
    cluster:start({ "c" }, { args = { "--key", key_files.old } })
    assert.same({ new }, ring("c"))

    new_key("foreign")
    cluster:spawn("e", { args = { "--key", key_files.foreign } })
    helper.wait_until("the stranger to be counted", 10, function()
      return metric("a", "mycorrizal_gossip_foreign_total") > 0
    end)
    for _, member in ipairs(cluster:ask("a", "members")) do assert.not_equal("e", member.name) end
    assert.not_matches(keys.new, cluster:log("a"), 1, true)
    assert.not_matches(keys.new, cluster:pulse("a", "keys", "list").out, 1, true)
  end)
end)
