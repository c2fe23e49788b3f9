local helper = require "spec.support.helper"
local task = require "mycorrizal.task"

describe("the cytoplasm", function()
  local folder, node, cytoplasm

  setup(function()
    folder = helper.new_folder()
    node = helper.open_node(folder)
    cytoplasm = node.cytoplasm
  end)

  teardown(function()
    node:close()
    helper.remove(folder)
  end)

  it("delivers in order to a handler that waits", function()
    local seen = {}
    local _ <close> = assert(cytoplasm:subscribe("orders.*", function(msg)
      task.sleep("1ms")
      seen[#seen + 1] = msg.data.id
    end))
    for i = 1, 20 do assert(cytoplasm:publish("orders." .. i, { id = i })) end
    helper.wait_until("20 messages", 5, function() return #seen == 20 end)
    for i = 1, 20 do assert.equal(i, seen[i]) end
  end)

  it("matches tokens by * and the rest by >", function()
    local one, rest = {}, {}
    local _ <close> = assert(cytoplasm:subscribe("a.*.c", function(msg) one[#one + 1] = msg.subject end))
    local _ <close> = assert(cytoplasm:subscribe("a.>", function(msg) rest[#rest + 1] = msg.subject end))
    for _, subject in ipairs { "a.b.c", "a.b", "a.b.c.d", "b.b.c" } do assert(cytoplasm:publish(subject, "x")) end
    helper.wait_until("three", 5, function() return #rest == 3 end)
    assert.same({ "a.b.c" }, one)
  end)

  it("answers requests by what the handler returns", function()
    local _ <close> = assert(cytoplasm:subscribe("double", function(msg) return msg.data * 2 end))
    assert.equal(14, (assert(cytoplasm:request("double", 7))))
  end)

  it("says when nobody answers", function()
    local answer, message, code = cytoplasm:request("nobody.here", "x")
    assert.is_nil(answer)
    assert.is_string(message)
    assert.equal("ENORESPONDERS", code)
  end)

  it("gives up a request in time", function()
    local _ <close> = assert(cytoplasm:subscribe("silent", function() end))
    local _, _, code = cytoplasm:request("silent", "x", { timeout = "30ms" })
    assert.equal("ETIMEDOUT", code)
  end)

  -- Would catch: a fence that does not travel, an epoch that is over and passes, a message without both.
  it("refuses an epoch that is older than one that was seen, and shows it to who hears", function()
    local seen = {}
    local _ <close> = assert(cytoplasm:subscribe("jobs", function(msg) seen[#seen + 1] = msg end))
    assert(cytoplasm:publish("jobs", "a", { fence = { name = "boss", epoch = 7 } }))
    local done, message, code = cytoplasm:publish("jobs", "b", { fence = "boss:6" })
    assert.is_nil(done)
    assert.equal("EFENCED", code)
    assert.equal("fenced: epoch 6 of 'boss' is over, 7 was seen here", message)
    assert(cytoplasm:publish("jobs", "c"))
    helper.wait_until("two", 5, function() return #seen == 2 end)
    assert.same({ name = "boss", epoch = 7 }, seen[1].fence)
    assert.equal("c", seen[2].data)
    assert.is_nil(seen[2].fence)
    assert.has_error(function() cytoplasm:publish("jobs", "d", { fence = "boss" }) end,
      "fence: 'boss' is not NAME:EPOCH, with an epoch above 0")
  end)

  it("refuses the epoch of a leadership that is over", function()
    local duty
    local campaign = assert(node.nodosum:campaign("foreman", { on_change = function(told) duty = told end }))
    helper.wait_until("held", 5, function() return duty and duty.held end)
    assert(cytoplasm:publish("jobs", "a", { fence = duty }))
    local former = duty.epoch
    campaign:resign()
    campaign = assert(node.nodosum:campaign("foreman", { on_change = function(told) duty = told end }))
    helper.wait_until("held anew", 5, function() return duty.held and duty.epoch > former end)
    local _, _, code = cytoplasm:publish("jobs", "b", { fence = { name = "foreman", epoch = former } })
    assert.equal("EFENCED", code)
    campaign:resign()
  end)

  it("shares messages in a queue group", function()
    local counts = { 0, 0 }
    local _ <close> = assert(cytoplasm:subscribe("work", function() counts[1] = counts[1] + 1 end, { queue = "g" }))
    local _ <close> = assert(cytoplasm:subscribe("work", function() counts[2] = counts[2] + 1 end, { queue = "g" }))
    for _ = 1, 40 do assert(cytoplasm:publish("work", "x")) end
    helper.wait_until("40 messages", 5, function() return counts[1] + counts[2] == 40 end)
    assert.is_true(counts[1] > 0 and counts[2] > 0)
  end)

  it("delivers nothing after unsubscribing, and the handler may do it itself", function()
    local seen, subscription = 0, nil
    subscription = assert(cytoplasm:subscribe("once", function()
      seen = seen + 1
      subscription:unsubscribe()
    end))
    local after = false
    local _ <close> = assert(cytoplasm:subscribe("after", function() after = true end))
    for _ = 1, 5 do cytoplasm:publish("once", "x") end
    cytoplasm:publish("after", "x") -- delivered in order: what was to come has come
    helper.wait_until("what was published last", 5, function() return after end)
    assert.equal(1, seen)
    subscription:unsubscribe()
  end)

  it("goes on after a handler raised", function()
    local seen = 0
    local _ <close> = assert(cytoplasm:subscribe("shaky", function(msg)
      seen = seen + 1
      if msg.data == "bad" then error("as expected by a spec", 0) end
    end))
    cytoplasm:publish("shaky", "bad")
    cytoplasm:publish("shaky", "good")
    helper.wait_until("both", 5, function() return seen == 2 end)
  end)

  it("refuses subjects that are none", function()
    for _, wrong in ipairs { "", "a..b", ("x"):rep(300), "a b" } do
      local ok, message, code = cytoplasm:publish(wrong, "x")
      assert.is_nil(ok, wrong)
      assert.is_string(message)
      assert.is_truthy(code == "EINVAL" or code == "ETOOBIG")
    end
    assert.is_nil((cytoplasm:subscribe("a.>.b", print)))
  end)

  it("flushes", function()
    assert.is_true(cytoplasm:flush())
  end)
end)
