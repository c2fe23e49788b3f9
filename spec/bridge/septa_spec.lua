-- The options and limits of septa through Lua. Would catch: a change that does not arrive, or overwrites what
-- was not named; an option that changes though it must not.
local command = require "mycorrizal.command"
local helper = require "spec.support.helper"

describe("the options of a septum", function()
  local folder, node

  setup(function()
    folder = helper.new_folder()
    node = helper.open_node(folder)
    assert(node.mycel:septum("carts", { kind = "durable", hyphae = 4, ttl = "1d" }))
    helper.wait_until("the feature is active", 10, function()
      return node.mycel:alter("carts", "ttl=1d")
    end)
  end)

  teardown(function()
    node:close()
    helper.remove(folder)
  end)

  local function run(name, args)
    return command.find(name).run({ node = node }, args, {})
  end

  local function shown(option)
    local answer = assert(run("septum", { name = "carts" }))
    for _, row in ipairs(answer.rows) do
      if row.option == option then return row.value, row.changes end
    end
  end

  it("change later, one without the others", function()
    assert(node.mycel:alter("carts", { ttl = "1d" }))
    assert(node.mycel:alter("carts", { size = "64MiB", idle = "90s" }))
    assert.equal("64MiB", (shown("size")))
    assert.equal("90s", (shown("idle")))
    assert.equal("1d", (shown("ttl")))
  end)

  it("change by a command", function()
    assert(run("septum alter", { name = "carts", options = { "ttl=2d", "entries=500" } }))
    assert.equal("2d", (shown("ttl")))
    assert.equal("500", (shown("entries")))
  end)

  it("say why they can't change", function()
    local done, message, code = node.mycel:alter("carts", { hyphae = 8 })
    assert.is_nil(done)
    assert.truthy(message:find("every key would belong to another hypha", 1, true))
    assert.equal("EINVAL", code)
    local _, changes = shown("hyphae")
    assert.truthy(changes:find("^no: "))
  end)

  it("are those of a septum that is there", function()
    local _, _, code = node.mycel:alter("nothing", { ttl = "1d" })
    assert.equal("ENOTFOUND", code)
    assert.truthy(assert(run("septum", { name = "nothing" })).missing)
  end)
end)

describe("the limits of a septum", function()
  local folder, node

  setup(function()
    folder = helper.new_folder()
    node = helper.open_node(folder)
    helper.wait_until("the feature is active", 10, function()
      return node.mycel:septum("first", { entries = 1, hyphae = 1 })
    end)
  end)

  teardown(function()
    node:close()
    helper.remove(folder)
  end)

  local function use(name)
    for _, septum in ipairs(node.mycel:septa()) do
      if septum.name == name then return septum.here end
    end
  end

  it("make a full cache drop what is used least often", function()
    local cache = assert(node.mycel:septum("lfu", { entries = 40, hyphae = 1 }))
    for i = 1, 20 do assert(cache:put("hot" .. i, i)) end
    for _ = 1, 20 do
      for i = 1, 20 do assert(cache:get("hot" .. i)) end
    end
    for i = 1, 200 do assert(cache:put("cold" .. i, i)) end
    local kept = 0
    for i = 1, 20 do kept = kept + (cache:get("hot" .. i) and 1 or 0) end
    assert.is_true(kept >= 16, ("only %d of 20 that are used often are left"):format(kept))
    assert.is_true(use("lfu").entries <= 40)
    assert.equal(180, use("lfu").evictions)
    assert.equal(20 * 20 + kept, use("lfu").hits)
  end)

  it("count bytes, and hold when they become smaller", function()
    local cache = assert(node.mycel:septum("bytes", { size = "64KiB", hyphae = 1, eviction = "lru" }))
    for i = 1, 200 do assert(cache:put("k" .. i, ("x"):rep(1000))) end
    assert.is_true(use("bytes").bytes <= 65536)
    assert.is_true(use("bytes").entries > 50)
    assert(node.mycel:alter("bytes", "size=16KiB"))
    helper.wait_until("what is too much is gone", 5, function() return use("bytes").bytes <= 16384 end)
    local done, message, code = cache:put("large", ("x"):rep(20000))
    assert.is_nil(done)
    assert.equal("ETOOBIG", code)
    assert.truthy(message:find("too large for the septum bytes", 1, true))
  end)

  it("make a durable septum refuse, until there is room", function()
    local septum = assert(node.mycel:septum("durable", { kind = "durable", entries = 3, hyphae = 1 }))
    for i = 1, 3 do assert(septum:put("k" .. i, i)) end
    local done, message, code = septum:put("k4", 4)
    assert.is_nil(done)
    assert.equal("ENOSPC", code)
    assert.truthy(message:find("the septum durable is full", 1, true))
    assert(septum:put("k3", "another value"))
    assert(septum:del("k1"))
    assert(septum:put("k4", 4))
    assert.equal(0, use("durable").evictions)
    assert.equal(1, use("durable").refused)
    assert(node.mycel:alter("durable", "entries=4"))
    assert(septum:put("k5", 5))
  end)

  it("make a cache refuse that does not evict", function()
    local cache = assert(node.mycel:septum("refuses", { entries = 1, hyphae = 1, eviction = "none" }))
    assert(cache:put("a", 1))
    local _, _, code = cache:put("b", 1)
    assert.equal("ENOSPC", code)
  end)

  it("refuse values that are larger than one may be", function()
    local septum = assert(node.mycel:septum("small", { value_size = 100 }))
    assert(septum:put("a", ("x"):rep(100)))
    local _, message, code = septum:put("a", ("x"):rep(101))
    assert.equal("ETOOBIG", code)
    assert.truthy(message:find("value_size", 1, true))
    _, _, code = septum:append("a", "x")
    assert.equal("ETOOBIG", code)
  end)

  it("forget what nobody uses, and keep what somebody reads", function()
    local cache = assert(node.mycel:septum("idle", { idle = "1s", hyphae = 1 }))
    assert(cache:put("read", 1))
    assert(cache:put("left", 1))
    helper.wait_until("it is forgotten", 8, function()
      assert(cache:get("read"))
      return use("idle").entries == 1
    end)
    assert.is_nil(cache:get("left"))
    assert.equal(1, use("idle").expirations)
  end)
end)
