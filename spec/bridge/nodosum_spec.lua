local declare = require "mycorrizal.declare"
local helper = require "spec.support.helper"
local task = require "mycorrizal.task"

describe("nodosum", function()
  local folder, node

  setup(function()
    folder = helper.new_folder()
    node = helper.open_node(folder)
  end)

  teardown(function()
    node:close()
    helper.remove(folder)
  end)

  it("tells who leads what, in which epoch", function()
    local found = helper.wait_until("a leader of mycel", 5, function()
      for _, leader in ipairs(node.nodosum:leaders()) do
        if leader.name == "mycel" and leader.leader == "here" then return leader end
      end
    end)
    assert.is_true(found.held_here)
    assert.is_true(found.epoch > 0)
  end)

  it("gives a duty to a candidate, cancels its work when it resigns, and never repeats an epoch", function()
    local epochs = {}
    for round = 1, 2 do
      local cancelled = false
      local election = assert(node.nodosum:campaign("nightly", {
        on_gained = function(duty)
          epochs[round] = duty.epoch
          local _ <close> = setmetatable({}, { __close = function() cancelled = true end })
          task.sleep("1h")
        end,
      }))
      helper.wait_until("the duty", 5, function() return epochs[round] end)
      assert.is_true(election.duty.held)
      election:resign()
      helper.wait_until("the end of the work", 5, function() return cancelled end)
      helper.wait_until("the release", 5, function()
        for _, leader in ipairs(node.nodosum:leaders()) do
          if leader.name == "nightly" and leader.leader then return false end
        end
        return true
      end)
    end
    assert.is_true(epochs[2] > epochs[1])
  end)

  it("applies a policy, shows it, and takes it back", function()
    local source = assert(declare.find_policy("persistence", "every-second"))
    local version = assert(node.nodosum:apply_policy("persistence", "every-second", source, { author = "spec" }))
    local policies = node.nodosum:policies()
    local last = policies[#policies]
    assert.same({ "persistence", "every-second", version, "spec", source },
      { last.kind, last.name, last.version, last.author, last.source })
    assert(node.nodosum:rollback_policy("persistence"))
  end)

  it("refuses a policy that breaks the contract, and says why", function()
    local version, message, code = node.nodosum:apply_policy("persistence", "mine", "return {kind = 'persistence'}")
    assert.is_nil(version)
    assert.equal("policy persistence/mine: it has no doc", message)
    assert.equal("EPOLICY", code)
  end)

  it("exposes functions, calls them, and takes them back", function()
    local before = #node.hypha:functions()
    local exposed <close> = assert(node.hypha:expose("shop.add", function(a, b) return { sum = a + b } end))
    assert.equal("table", type(exposed))
    assert.same({ sum = 5 }, node.hypha:call("shop.add", 2, 3))
    assert.equal(before + 1, #node.hypha:functions())
    exposed:close()
    local _, message, code = node.hypha:call("shop.add", 2, 3)
    assert.is_string(message)
    assert.equal("ENOTFOUND", code)
  end)

  it("turns an error of an exposed function into a code", function()
    local _ <close> = assert(node.hypha:expose("shop.bad", function() error("as expected by a spec", 0) end))
    local _, _, code = node.hypha:call("shop.bad")
    assert.equal("ELUA", code)
  end)
end)
