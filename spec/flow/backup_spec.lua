-- An object store without its cluster: listed, verified, brought back to a point in time; sealed, and then not to
-- be read without the key. Would catch: an acknowledgement at level object that nothing can bring back, a point in
-- time that holds what came later, damage that verify does not see, a key that is not asked for.

local helper = require "spec.support.helper"
local json = require "mycorrizal.json"

describe("a backup", function()
  local folder, store, key

  before_each(function()
    folder = helper.new_folder()
    store = "file:" .. folder .. "/store"
    key = folder .. "/store.key"
    helper.write(key, helper.run({ "keygen" }).out)
    assert(os.execute("chmod 600 " .. key))
  end)
  after_each(function() helper.remove(folder) end)

  local function start()
    return helper.start_node(folder, "--store", store, "--store-key", key)
  end

  local function kill(node)
    node.process:kill("sigkill")
    node.process:wait_end()
    helper.remove(folder .. "/api-1.myco")
  end

  local function pulse(node, ...)
    local done = helper.pulse(node, { ... })
    assert.equal(0, done.status, done.err)
    return done.out
  end

  local function newest_time()
    local last
    for line in helper.run({ "backup", "list", "--store", store, "--store-key", key, "--json" }).out:gmatch("[^\n]+") do
      last = json.decode(line)
    end
    return last.time
  end

  local function some_object()
    local files = io.popen("find " .. folder .. "/store/d -type f"):read("a")
    return files:match("[^\n]+")
  end

  it("brings back a point in time, without what came later", function()
    local node = start()
    helper.wait_until("the septum", 10, function()
      return helper.pulse(node, { "septum", "create", "carts", "--kind", "durable", "--level", "object", "--hyphae",
        "4" }).status == 0
    end)
    pulse(node, "put", "carts", "k", "first")
    local time = newest_time()
    pulse(node, "put", "carts", "k", "second")
    pulse(node, "put", "carts", "later", "x")
    kill(node)

    local verified = helper.run { "backup", "verify", "--store", store, "--store-key", key, "--json" }
    assert.equal(0, verified.status, verified.err)
    assert.equal(0, json.decode(verified.out).damaged)
    local early = helper.run { "restore", "--store", store, "--store-key", key, "--at", time }
    assert.equal(1, early.status)
    assert.matches("a cluster wrote to the store", early.err)
    local restored = helper.run { "restore", "--store", store, "--store-key", key, "--at", time, "--force" }
    assert.equal(0, restored.status, restored.err)

    node = start()
    assert.equal("first", pulse(node, "get", "carts", "k"):match("%w+"))
    assert.equal(1, helper.pulse(node, { "get", "carts", "later" }).status)
    pulse(node, "put", "carts", "k", "third")
    kill(node)

    local copy = "file:" .. folder .. "/copy"
    restored = helper.run { "restore", "--store", store, "--store-key", key, "--at", time, "--to", copy }
    assert.equal(0, restored.status, restored.err)
    node = helper.start_node(folder, "--store", copy)
    assert.equal("first", pulse(node, "get", "carts", "k"):match("%w+"))
    kill(node)
    node = start()
    assert.equal("third", pulse(node, "get", "carts", "k"):match("%w+"))
    kill(node)
  end)

  it("is sealed, names the key that it wants, and shows damage", function()
    local node = start()
    helper.wait_until("the septum", 10, function()
      return helper.pulse(node, { "septum", "create", "carts", "--kind", "durable", "--level", "object" }).status == 0
    end)
    pulse(node, "put", "carts", "k", "a-secret-to-look-for")
    kill(node)
    assert.equal("", io.popen("grep -rl a-secret-to-look-for " .. folder .. "/store"):read("a"))

    local without = helper.run { "backup", "verify", "--store", store }
    assert.equal(1, without.status)
    assert.matches("sealed with the key %x+: start the node with %-%-store%-key", without.err)
    local other = helper.write(folder .. "/other.key", helper.run({ "keygen" }).out)
    local wrong = helper.run { "backup", "list", "--store", store, "--store-key", other }
    assert.equal(1, wrong.status)
    assert.matches("the key %x+, which is not among ours", wrong.err)

    local path = some_object()
    local file <close> = assert(io.open(path, "r+b"))
    file:seek("set", 50)
    file:write("?")
    file:close()
    local damaged = helper.run { "backup", "verify", "--store", store, "--store-key", key, "--json" }
    assert.equal(1, damaged.status)
    assert.equal(1, json.decode(damaged.out).damaged)
    assert.matches("damaged: d/", damaged.err)
  end)

  it("says what is wrong with how it is asked", function()
    assert.equal(2, helper.run({ "backup", "verify" }).status)
    assert.equal(2, helper.run({ "restore", "--store", store }).status)
    local bad = helper.run { "restore", "--store", store, "--at", "yesterday" }
    assert.equal(1, bad.status)
    assert.matches("write 2026%-11%-22T07:30:00Z", bad.err)
    assert.matches("there is no manifest in the store",
      helper.run({ "restore", "--store", store, "--at", "1h" }).err)
  end)
end)
