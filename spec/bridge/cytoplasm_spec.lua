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
