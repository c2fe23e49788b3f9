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

  it("tells an observer who leads, and every change", function()
    local seen = {}
    local observer <close> = assert(node.nodosum:observe("watch.*", function(leadership)
      seen[#seen + 1] = leadership
    end))
    assert.equal("observer of watch.*", tostring(observer))
    local election = assert(node.nodosum:campaign("watch.me"))
    helper.wait_until("a leader", 5, function() return seen[#seen] and seen[#seen].leader == "here" end)
    assert.equal("elected", seen[#seen].reason)
    local epoch = seen[#seen].epoch
    local done, message, code = node.nodosum:hand_over("watch.me", "nobody")
    assert.is_nil(done)
    assert.equal("nobody is no candidate of 'watch.me'", message)
    assert.equal("ENOTFOUND", code)
    assert(node.nodosum:hand_over("watch.me", "here"))
    election:resign()
    helper.wait_until("the end", 5, function() return seen[#seen].leader == "" end)
    assert.same({ "watch.me", epoch, "given up" }, { seen[#seen].name, seen[#seen].epoch, seen[#seen].reason })
  end)

  it("gives a lock to one at a time, in the order of asking, each in a newer epoch", function()
    local first = assert(node.nodosum:lock("import"))
    local busy, _, code = node.nodosum:lock("import", { wait = 0 })
    assert.is_nil(busy)
    assert.equal("EBUSY", code)
    local order, tasks = {}, {}
    for i = 1, 3 do
      tasks[i] = task.start(function()
        local lock <close> = assert(node.nodosum:lock("import"))
        order[#order + 1] = lock.epoch
      end)
      helper.wait_until("a waiter", 5, function() return #node.nodosum:locks()[1].waiters == i end)
    end
    assert.same({ "here" }, { node.nodosum:locks()[1].holders[1].node })
    first:unlock()
    for i = 1, 3 do tasks[i]:join() end
    assert.equal(3, #order)
    assert.is_true(first.epoch < order[1] and order[1] < order[2] and order[2] < order[3])
    helper.wait_until("nothing left", 5, function() return #node.nodosum:locks() == 0 end)
  end)

  -- Would catch: a task that waits for itself until its deadline; another task that is refused though it may wait.
  it("refuses a lock to the task that holds it, and to no other", function()
    local lock = assert(node.nodosum:lock("twice"))
    local none, message, code = node.nodosum:lock("twice")
    assert.is_nil(none)
    assert.equal("EBUSY", code)
    assert.equal("lock twice: this task holds it already, and would wait for itself", message)
    local second
    local other = task.spawn(function() second = node.nodosum:lock("twice") end)
    task.sleep("20ms")
    lock:unlock()
    other:join()
    assert.is_true(second.held)
    second:unlock()
    assert(node.nodosum:lock("twice")):unlock()
  end)

  it("checks what a campaign asks for", function()
    assert.has_error(function() node.nodosum:campaign("shown", {}, { labels = { ["a,b"] = 1 } }) end,
      "campaign: 'a,b=1' is no label")
    local none, message, code = node.nodosum:campaign("shown", {}, { labels = { long = ("x"):rep(255) } })
    assert.is_nil(none)
    assert.equal("EINVAL", code)
    assert.matches("labels of more than 255 bytes", message)
  end)

  it("refuses at a septum whoever held a lock before", function()
    local septum = assert(node.mycel:septum("guarded", { kind = "durable", hyphae = 1 }))
    local lock = assert(node.nodosum:lock("import"))
    assert(septum:put("k", 1, { fence = lock }))
    lock:unlock()
    helper.wait_until("its end", 5, function() return #node.nodosum:locks() == 0 end)
    local done, message, code = septum:put("k", 2, { fence = lock })
    assert.is_nil(done)
    assert.equal("EFENCED", code)
    assert.matches("epoch %d+ of 'lock/import' is over", message)
  end)

  it("lets as many in as there are permits, and nobody who waits too long", function()
    local a <close> = assert(node.nodosum:semaphore("workers", 2))
    local b <close> = assert(node.nodosum:semaphore("workers", 2))
    assert.not_equal(a.fence, b.fence)
    local none, message, code = node.nodosum:semaphore("workers", 2, { wait = "50ms" })
    assert.is_nil(none)
    assert.equal("ETIMEDOUT", code)
    assert.equal("lock workers: others held it all the time", message)
    none, message, code = node.nodosum:semaphore("workers", 3)
    assert.is_nil(none)
    assert.equal("ECONFLICT", code)
    assert.matches("another number of permits", message)
  end)

  it("lets all pass a barrier together", function()
    local barrier = node.nodosum:barrier("start", 2)
    local epoch
    local other = task.start(function() epoch = assert(barrier:enter()) end)
    local mine = assert(barrier:enter())
    other:join()
    assert.equal(mine, epoch)
    local none, _, code = barrier:leave { wait = "50ms" }
    assert.is_nil(none)
    assert.equal("ETIMEDOUT", code)
  end)

  it("knows after a sync what was agreed on before it", function()
    assert(node.mycel:septum("synced", { kind = "cache" }))
    assert.is_true(node.nodosum:sync())
    local _, message, code = node.nodosum:sync({ timeout = "5s" })
    assert.is_nil(code, message)
    assert.equal("mycel", (function()
      for _, leader in ipairs(assert(node.nodosum:leaders({ linearizable = true }))) do
        if leader.name == "mycel" then return leader.name end
      end
    end)())
  end)

  it("removes nobody that it does not know, or that runs", function()
    local _, _, code = node.nodosum:remove("nobody")
    assert.equal("ENOTFOUND", code)
    local _, message, busy = node.nodosum:remove("here")
    assert.equal("EBUSY", busy)
    assert.is_truthy(message:find("stop it first", 1, true))
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
