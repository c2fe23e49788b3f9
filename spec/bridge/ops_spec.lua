local helper = require "spec.support.helper"
local task = require "mycorrizal.task"

-- Catches: a binding that loses an argument or mixes up results of changes; counters in Lua's form.
describe("changes of a key", function()
  local folder, node, septum

  setup(function()
    folder = helper.new_folder()
    node = helper.open_node(folder)
    septum = assert(node.mycel:septum("ops", { kind = "durable", hyphae = 4, ttl = "1h" }))
  end)

  teardown(function()
    node:close()
    helper.remove(folder)
  end)

  it("count, as text and as numbers that were put", function()
    assert.equal(1, (septum:incr("n")))
    assert.equal(-9, (septum:incr("n", -10)))
    assert.equal("-9", (septum:get("n")))
    assert.equal(105, (septum:incr("m", 5, { initial = 100 })))
    assert(septum:put("lua", 70000))
    assert.equal(70001, (septum:incr("lua")))
    assert.equal(70001, (septum:get("lua")))
  end)

  it("say what a counter can't be", function()
    assert(septum:put("text", "x"))
    local sum, message, code = septum:incr("text")
    assert.is_nil(sum)
    assert.equal("EINVAL", code)
    assert.equal("the value is no whole number of 64 bits", message)
    assert(septum:put("full", tostring(math.maxinteger)))
    assert.equal("ERANGE", select(3, septum:incr("full")))
    assert.equal("ENOTFOUND", select(3, septum:incr("nobody", 1, { if_present = true })))
  end)

  it("append, by many at once", function()
    local writers = {}
    for i = 1, 8 do
      writers[i] = task.spawn(function()
        for _ = 1, 5 do assert(septum:append("log", "ab")) end
      end)
    end
    for _, writer in ipairs(writers) do writer:join() end
    assert.equal(("ab"):rep(40), (septum:get("log")))
    assert.equal(81, (septum:append("log", "!")))
  end)

  it("give lifetimes", function()
    assert(septum:put("k", { a = 1 }))
    local item, version, expires = septum:touch("k", "2h")
    assert.same({ a = 1 }, item)
    assert.equal("integer", math.type(version))
    assert.is_true(expires > 7000000 and expires <= 7200000)
    assert.is_true(septum:expire("k", false))
    assert.is_nil(select(3, septum:get("k")))
    assert(septum:put("k", "x", { keep_ttl = true }))
    assert.is_nil(select(3, septum:get("k")))
    assert.is_true(septum:expire("k"))
    assert.is_true(select(3, septum:get("k")) <= 3600000)
    assert(septum:put("k", "y", { ttl = false }))
    assert.is_nil(select(3, septum:get("k")))
    assert.is_false(septum:expire("nobody", "1s"))
    assert.is_nil(septum:touch("nobody"))
  end)

  it("exchange values", function()
    local former, version = septum:swap("s", { 1 })
    assert.is_nil(former)
    assert.equal("integer", math.type(version))
    assert.same({ 1 }, (septum:swap("s", "two")))
    assert.equal("ECONFLICT", select(3, septum:take("s", { if_version = version })))
    assert.equal("two", (septum:take("s")))
    assert.is_nil(septum:take("s"))
  end)

  it("come many at once", function()
    local many = assert(node.mycel:septum("many", { kind = "durable", hyphae = 4 }))
    local items = {}
    for i = 1, 5000 do items[("k%d"):format(i)] = { n = i } end
    local versions = assert(many:put_many(items))
    assert.equal("integer", math.type(versions.k5000))
    local values, found = many:get_many({ "k1", "k5000", "nobody" })
    assert.same({ k1 = { n = 1 }, k5000 = { n = 5000 } }, values)
    assert.equal(versions.k1, found.k1)
    assert.equal(1111, (many:count("k1")))
    local none, message, code, failures = many:put_many({ { "k1", 0 }, { "new", 1 } }, { if_absent = true })
    assert.is_nil(none)
    assert.equal("'k1': the key is there already", message)
    assert.equal("ECONFLICT", code)
    assert.same({ k1 = { message = "the key is there already", code = "ECONFLICT" } }, failures)
    assert.equal(1, (many:get("new")))
    assert.equal(2, (many:del_many({ "k1", "k2", "nobody" })))
    assert.equal(4999, (many:count()))
  end)

  it("refuse an older epoch", function()
    assert(septum:incr("fenced", 1, { fence = { name = "import", epoch = 7 } }))
    assert.equal("EFENCED", select(3, septum:incr("fenced", 1, { fence = "import:6" })))
    assert.equal("1", (septum:get("fenced")))
  end)
end)

-- Catches: events that Lua loses while its handler is slow; tokens that lead to the wrong place.
describe("a watch", function()
  local folder, node, septum

  setup(function()
    folder = helper.new_folder()
    node = helper.open_node(folder)
    septum = assert(node.mycel:septum("watched", { kind = "durable", hyphae = 4 }))
  end)

  teardown(function()
    node:close()
    helper.remove(folder)
  end)

  it("tells changes of its prefix, in order, however slow its handler is", function()
    local seen = {}
    local watch = assert(septum:watch("u:", function(event)
      task.sleep("1ms")
      seen[#seen + 1] = event
    end))
    for i = 1, 60 do assert(septum:put("u:1", { n = i })) end
    assert(septum:put("other", 1))
    assert(septum:del("u:1"))
    helper.wait_until("all events", 10, function() return #seen == 61 end)
    for i = 1, 60 do
      assert.same({ "put", "u:1", { n = i } }, { seen[i].kind, seen[i].key, seen[i].value })
      assert.is_true(i == 1 or seen[i].version > seen[i - 1].version)
    end
    assert.equal("del", seen[61].kind)
    watch:close()
    assert(septum:put("u:1", 1))
    assert.equal(61, #seen)
  end)

  it("goes on from a token", function()
    local seen = {}
    local watch = assert(septum:watch("t:", function() end))
    assert(septum:put("t:1", 1))
    local token = assert(watch:token())
    watch:close()
    assert.equal("ECLOSED", select(3, watch:token()))
    assert(septum:put("t:2", 2))
    local function note(event) seen[event.key] = event.value end
    local again <close> = assert(septum:watch("t:", note, { from = token }))
    helper.wait_until("what came meanwhile", 10, function() return seen["t:2"] == 2 end)
    local none, message, code = septum:watch("t:", print, { from = "no token" })
    assert.is_nil(none)
    assert.equal("EINVAL", code)
    assert.equal("watch: this is no token of a watch of watched", message)
    assert.is_string(again:token())
  end)

  it("shows what it watches", function()
    local count = 0
    local watch <close> = assert(septum:watch("e:", function() count = count + 1 end))
    assert(septum:put("e:1", 1))
    assert(septum:put("e:2", 1))
    helper.wait_until("both", 10, function() return count == 2 end)
    assert.equal("watch of 'e:'", tostring(watch))
  end)
end)

-- Catches: a value that is loaded more than once at a time, an absent one that is stored, a load that nobody hears of.
describe("a loader", function()
  local folder, node, septum

  setup(function()
    folder = helper.new_folder()
    node = helper.open_node(folder)
    septum = assert(node.mycel:septum("pages", { kind = "cache", hyphae = 2 }))
  end)

  teardown(function()
    node:close()
    helper.remove(folder)
  end)

  it("loads what is absent once, for all who ask", function()
    local loads, askers, got = 0, {}, {}
    local pages = septum:loader(function(key)
      loads = loads + 1
      task.sleep("20ms")
      return { of = key }
    end, { ttl = "1h" })
    for i = 1, 10 do
      askers[i] = task.spawn(function() got[i] = pages:get("index") end)
    end
    for _, asker in ipairs(askers) do asker:join() end
    for i = 1, 10 do assert.same({ of = "index" }, got[i]) end
    assert.equal(1, loads)
    assert.same({ of = "index" }, (septum:get("index")))
    assert.is_true(select(3, septum:get("index")) > 0)
    assert.same({ of = "index" }, (pages:get("index")))
    assert.equal(1, loads)
  end)

  it("stores nothing of what there is not, and keeps what another stored", function()
    local none = septum:loader(function() return nil, "no such page", "ENOTFOUND" end)
    local item, message, code = none:get("nowhere")
    assert.is_nil(item)
    assert.same({ "no such page", "ENOTFOUND" }, { message, code })
    assert.is_nil(septum:get("nowhere"))
    local late = septum:loader(function(key)
      assert(septum:put(key, "theirs"))
      return "ours"
    end)
    assert.equal("theirs", (late:get("raced")))
    local bad = septum:loader(function() error("it broke", 0) end)
    local ok, raised = pcall(bad.get, bad, "broken")
    assert.is_false(ok)
    assert.equal("it broke", raised)
  end)
end)
