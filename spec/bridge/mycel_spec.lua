local helper = require "spec.support.helper"
local task = require "mycorrizal.task"

describe("a septum", function()
  local folder, node, septum

  setup(function()
    folder = helper.new_folder()
    node = helper.open_node(folder)
    septum = assert(node.mycel:septum("carts", { kind = "durable", hyphae = 4 }))
  end)

  teardown(function()
    node:close()
    helper.remove(folder)
  end)

  it("gives back what was put, with its version", function()
    local version = assert(septum:put("u:7", { items = 3 }))
    local value, found = septum:get("u:7")
    assert.same({ items = 3 }, value)
    assert.equal(version, found)
  end)

  it("gives nil alone for what is not there", function()
    local value, message = septum:get("nobody")
    assert.is_nil(value)
    assert.is_nil(message)
  end)

  it("keeps every byte of keys and values", function()
    local all = {}
    for i = 0, 255 do all[#all + 1] = string.char(i) end
    local bytes = table.concat(all)
    assert(septum:put(bytes, bytes))
    assert.equal(bytes, (septum:get(bytes)))
  end)

  it("puts only when absent, or when the version is that", function()
    assert(septum:del("cond") ~= nil)
    local version = assert(septum:put("cond", "1", { if_absent = true }))
    local again, _, code = septum:put("cond", "2", { if_absent = true })
    assert.is_nil(again)
    assert.equal("ECONFLICT", code)
    assert(septum:put("cond", "3", { if_version = version }))
    again, _, code = septum:put("cond", "4", { if_version = version })
    assert.is_nil(again)
    assert.equal("ECONFLICT", code)
    assert.equal("3", (septum:get("cond")))
  end)

  it("refuses an epoch that is older than one it was shown", function()
    assert(septum:put("job", 1, { fence = { name = "import", epoch = 7 } }))
    local done, message, code = septum:put("job", 2, { fence = "import:6" })
    assert.is_nil(done)
    assert.equal("EFENCED", code)
    assert.equal("fenced: epoch 6 of 'import' is over, 7 was seen here", message)
    assert.equal(1, (septum:get("job", { fence = "import:9" })))
    done, message, code = septum:del("job", { fence = "import:8" })
    assert.is_nil(done)
    assert.equal("EFENCED", code)
    assert.equal("fenced: epoch 8 of 'import' is over, 9 was seen here", message)
    assert.equal(1, (septum:get("job")))
  end)

  it("takes no fence in a cache, which may forget it", function()
    local cache = assert(node.mycel:septum("pages", { kind = "cache", hyphae = 1 }))
    local done, message, code = cache:put("k", 1, { fence = "import:7" })
    assert.is_nil(done)
    assert.equal("ENOTSUP", code)
    assert.matches("pages is a cache", message)
  end)

  it("says whether there was something to delete", function()
    assert(septum:put("gone", "x"))
    assert.is_true(septum:del("gone"))
    assert.is_false(septum:del("gone"))
  end)

  it("is updated by many at once without losing one", function()
    assert(septum:put("counter", 0))
    local writers = {}
    for i = 1, 8 do
      writers[i] = task.spawn(function()
        for _ = 1, 5 do assert(septum:update("counter", function(n) return n + 1 end)) end
      end)
    end
    for _, writer in ipairs(writers) do writer:join() end
    assert.equal(40, (septum:get("counter")))
  end)

  it("leaves a value alone when the change returns nil", function()
    local version = assert(septum:put("same", "x"))
    local value, found = septum:update("same", function() return nil end)
    assert.equal("x", value)
    assert.equal(version, found)
  end)

  it("is scanned by prefix, page after page", function()
    local scanned = assert(node.mycel:septum("scanned", { kind = "durable", hyphae = 4 }))
    local put = {}
    for i = 1, 30 do
      put[i] = task.spawn(function() assert(scanned:put(("k:%02d"):format(i), { n = i })) end)
    end
    for _, one in ipairs(put) do one:join() end
    assert(scanned:put("other", "x"))
    local sum, count = 0, 0
    for key, value, version in scanned:scan("k:", { limit = 7 }) do
      assert.matches("^k:", key)
      assert.equal("integer", math.type(version))
      sum, count = sum + value.n, count + 1
    end
    assert.same({ 465, 30 }, { sum, count })
    assert.equal(31, assert(scanned:count()))
    for _, value in scanned:scan("k:", { keys_only = true }) do assert.is_nil(value) end
  end)

  it("forgets what has a time to live", function()
    assert(septum:put("short", "x", { ttl = "50ms" }))
    local _, _, expires = septum:get("short")
    assert.is_true(expires > 0 and expires <= 50)
    helper.wait_until("its end", 5, function() return septum:get("short") == nil end)
  end)

  it("is found by name, and only when it is there", function()
    assert.equal(septum, node.mycel.carts)
    assert.is_nil(node.mycel.nothing)
    local none, message, code = node.mycel:septum("nothing")
    assert.is_nil(none)
    assert.is_string(message)
    assert.equal("ENOTFOUND", code)
  end)

  it("is not created as something else", function()
    local none, message, code = node.mycel:septum("carts", { kind = "cache" })
    assert.is_nil(none)
    assert.is_string(message)
    assert.equal("EEXISTS", code)
  end)

  it("refuses keys and values that are too large, or none", function()
    local _, _, code = septum:put(("k"):rep(65 * 1024), "x")
    assert.equal("ETOOBIG", code)
    _, _, code = septum:put("", "x")
    assert.equal("EINVAL", code)
    _, _, code = septum:put("nil", nil)
    assert.equal("EINVAL", code)
    assert.has_error(function() septum:put("k", "v", { ttl = "soon" }) end)
    assert.has_error(function() septum:put({}, "v") end)
  end)
end)
