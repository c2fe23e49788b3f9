local helper = require "spec.support.helper"
local loop = require "mycorrizal.io.loop"
local task = require "mycorrizal.task"

describe("a task", function()
  it("returns what its function returned, nils included", function()
    local child = task.spawn(function() return 1, nil, 3 end)
    assert.same({ 1, nil, 3, n = 3 }, table.pack(child:join()))
  end)

  it("raises in who joins it what it raised", function()
    local child = task.spawn(function() error({ mine = true }) end)
    local ok, raised = pcall(child.join, child)
    assert.is_false(ok)
    assert.same({ mine = true }, raised)
  end)

  it("is resumed on a later turn, also when the callback comes at once", function()
    local order = {}
    task.await(function(callback)
      callback(true)
      order[#order + 1] = "started"
      return true
    end)
    order[#order + 1] = "resumed"
    assert.same({ "started", "resumed" }, order)
  end)

  it("does not wait for a callback when the start failed", function()
    local function start() return nil, "no", "EFULL" end
    assert.same({ nil, "no", "EFULL", n = 3 }, table.pack(task.await(start)))
  end)

  it("takes the first of several callbacks", function()
    local got = task.await(function(callback)
      callback("first")
      callback("second")
      return true
    end)
    assert.equal("first", got)
    task.sleep("1ms")
  end)

  it("ends after its children", function()
    local ended = false
    local parent = task.spawn(function()
      task.spawn(function()
        task.sleep("5ms")
        ended = true
      end)
    end)
    parent:join()
    assert.is_true(ended)
  end)

  it("cancels its children when it raises", function()
    local child
    local parent = task.spawn(function()
      child = task.spawn(task.sleep, "1h")
      task.yield()
      error("boom")
    end)
    assert.is_false(pcall(parent.join, parent))
    assert.equal("cancelled", child.status)
  end)

  it("fails with the error of a child that nobody joined", function()
    local parent = task.spawn(function()
      task.spawn(function() error("of the child", 0) end)
      task.sleep("1h")
    end)
    local ok, raised = pcall(parent.join, parent)
    assert.is_false(ok)
    assert.matches("of the child", tostring(raised))
  end)

  it("is unwound when it is cancelled, closing what it holds", function()
    local closed = false
    local child = task.spawn(function()
      local _ <close> = setmetatable({}, { __close = function() closed = true end })
      task.sleep("1h")
    end)
    task.yield()
    child:cancel()
    assert.same({ nil, "cancelled", "ECANCELED", n = 3 }, table.pack(child:join()))
    assert.is_true(closed)
  end)

  it("does not begin when it was cancelled before", function()
    local ran = false
    local child = task.spawn(function() ran = true end)
    child:cancel()
    child:join()
    assert.is_false(ran)
  end)

  it("finishes what is shielded, and then is unwound", function()
    local steps = {}
    local child = task.spawn(function()
      task.shield(function()
        task.sleep("5ms")
        steps[#steps + 1] = "shielded"
      end)
      task.sleep("1h")
      steps[#steps + 1] = "never"
    end)
    task.yield()
    child:cancel()
    child:join()
    assert.same({ "shielded" }, steps)
  end)

  it("says so when a call that waits is made in a coroutine of one's own", function()
    local co = coroutine.create(function() task.sleep(0) end)
    local ok, message = coroutine.resume(co)
    assert.is_false(ok)
    assert.matches("must be made in a task", message)
  end)

  it("tells the error of one without a parent", function()
    local told
    local before = task.on_error
    task.on_error = function(message) told = message end -- luacheck: ignore 122
    task.start(function() error("lonely") end)
    helper.wait_until("the error", 2, function() return told end)
    task.on_error = before -- luacheck: ignore 122
    assert.matches("lonely", told)
    assert.matches("stack traceback", told)
  end)
end)

describe("a deadline", function()
  it("ends what takes too long, and leaves no handle open", function()
    local before = helper.open_handles()
    assert.same({ nil, "timed out", "ETIMEDOUT", n = 3 }, table.pack(task.deadline("5ms", task.sleep, "1h")))
    assert.same({}, helper.new_handles(before))
  end)

  it("passes results on in time", function()
    assert.equal(7, task.deadline(1, function() return 7 end))
  end)
end)

describe("a guarded task", function()
  local function run(fn, limit)
    local guarded = task.start_guarded(limit or "60ms", fn)
    guarded.joined = true
    local turns = 0
    while guarded.status == "running" do
      task.sleep("5ms")
      turns = turns + 1
    end
    return guarded, turns
  end

  it("lets others run while it loops, and is ended at its deadline", function()
    local guarded, turns = run(function() while true do end end)
    assert.equal("cancelled", guarded.status)
    assert.equal("ETIMEDOUT", guarded.cancelled)
    assert.is_true(turns >= 2, "others had their turn: " .. turns)
  end)

  it("can't swallow its end by pcall", function()
    local guarded = run(function()
      while true do pcall(function() while true do end end) end
    end)
    assert.not_equal("done", guarded.status)
  end)

  it("can't hide in a sort", function()
    local guarded = run(function()
      while true do table.sort({ 3, 2, 1 }, function() while true do end end) end
    end)
    assert.not_equal("done", guarded.status)
  end)

  it("is ended soon when it is cancelled while it computes", function()
    local guarded = task.start_guarded(60, function() while true do end end)
    guarded.joined = true
    task.sleep("20ms")
    local start = loop.now_ms()
    guarded:cancel()
    while guarded.status == "running" do task.sleep("1ms") end
    assert.equal("cancelled", guarded.status)
    assert.is_true(loop.now_ms() - start < 1000)
  end)

  it("does its work between the slices", function()
    local guarded = run(function()
      local n = 0
      for i = 1, 3000000 do n = n + i % 7 end
      return n
    end, 20)
    assert.equal("done", guarded.status)
    assert.equal(8999997, guarded.results[1])
  end)
end)
