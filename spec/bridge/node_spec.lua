local helper = require "spec.support.helper"
local myco = require "mycorrizal"
local task = require "mycorrizal.task"

describe("a node opened from Lua", function()
  local folder

  before_each(function() folder = helper.new_folder() end)
  after_each(function() helper.remove(folder) end)

  it("becomes ready, says who it is, and leaves nothing open behind", function()
    local before = helper.open_handles()
    do
      local node <close> = assert(
        myco.open { name = "here", cluster = "shop", data = folder .. "/n.myco", labels = { zone = "a" } })
      assert.is_true(assert(node:ready(10)))
      assert.equal("here", node.name)
      assert.matches("^%x+$", node.id)
      assert.matches("^127%.0%.0%.1:%d+$", node.listen)
      assert.equal("shop", node.hypha:status().cluster)
      assert.same({ zone = "a" }, node.nodosum:members()[1].labels)
    end
    assert.same({}, helper.new_handles(before))
  end)

  it("is refused with a reason when its address is taken", function()
    local first <close> = assert(myco.open { name = "first", data = folder .. "/first.myco" })
    local second, message, code = myco.open {
      name = "second", data = folder .. "/second.myco", listen = first.listen,
    }
    assert.is_nil(second)
    assert.matches(first.listen:gsub("%.", "%%."), message)
    assert.equal("EADDRINUSE", code)
  end)

  it("raises for what is no option", function()
    assert.has_error(function() myco.open { nmae = "here" } end, "'nmae' is no option of a node")
    assert.has_error(function() myco.open { name = 7 } end, "option name is a number, not a string")
  end)

  it("may be closed twice, and refuses calls after it", function()
    local node = helper.open_node(folder)
    local septum = assert(node.mycel:septum("s", { kind = "cache", hyphae = 2 }))
    assert.is_true(node:close())
    assert.is_true(node:close())
    assert.is_false(node:is_ready())
    for _, call in ipairs { function() node:inspect("members") end, function() septum:get("k") end,
      function() node.cytoplasm:publish("a", "b") end } do
      assert.has_error(call, "the node is closed")
    end
  end)

  it("ends calls under way when it closes", function()
    local node = helper.open_node(folder)
    local began = false
    assert(node.cytoplasm:subscribe("slow", function()
      began = true
      task.sleep(1)
    end))
    local asking = task.spawn(function() return node.cytoplasm:request("slow", "x", { timeout = 30 }) end)
    helper.wait_until("the request to be under way", 5, function() return began end)
    node:close()
    local answer, message = asking:join()
    assert.is_nil(answer)
    assert.is_string(message)
  end)

  it("carries out what its configuration declares", function()
    local config = [[return {
      septa = { carts = { kind = "durable", hyphae = 4 }, pages = { kind = "cache", ttl = "10m" } },
      policies = { placement = "zone-aware" },
    }]]
    local node <close> = helper.open_node(folder, { config = config })
    helper.wait_until("what was declared", 10, function()
      local policies = node.nodosum:policies() or {}
      return #(node.mycel:septa() or {}) == 2 and #policies == 1
    end)
    assert.equal("zone-aware", node.nodosum:policies()[1].name)
    assert.equal("cache", node.mycel:septa()[2].kind)
  end)
end)
