-- Tasks: code that waits reads as straight lines, and nothing that was started is forgotten.
--
-- A task is a coroutine. A parent ends after its children; one that is cancelled, or that raises,
-- cancels them. Waiting is a checkpoint: there, a cancelled task is unwound by an error (its
-- <close> variables are closed). A task is resumed on a later turn of the loop, never inside the
-- callback that it waits for.

local core <const> = require "mycorrizal.core"
local loop <const> = require "mycorrizal.io.loop"
local text <const> = require "mycorrizal.text"

---@class myco.task
---@field status "running"|"done"|"failed"|"cancelled"
---@field results table? what its function returned, as table.pack
---@field error any what it raised
---@field traceback string?
local Task <const> = {}
Task.__index = Task

local M <const> = {}

local SLICE_MS <const> = 10
local WAIT <const> = {}
local CANCELED <const> = setmetatable({}, { __tostring = function() return "the task was cancelled" end })

local current
local ready, ready_count = {}, 0

--- What happens to the error of a task that has no parent: by default it is logged.
---@param message string with its traceback
function M.on_error(message)
  core.report(message)
end

-- ── Turns ──

local resume, end_hard

local function run_ready()
  local batch, count = ready, ready_count
  ready, ready_count = {}, 0
  for i = 1, count do
    local item = batch[i]
    resume(item.task, table.unpack(item, 1, item.n))
  end
end

local function schedule(task, ...)
  ready_count = ready_count + 1
  ready[ready_count] = { task = task, n = select("#", ...), ... }
  if ready_count == 1 then loop.defer(run_ready) end
end

-- A task in a guard is suspended when its slice of time is over, and ended after its deadline, or
-- when it was cancelled and does not come to a checkpoint.
local function arm(task)
  local guard = task.guard
  if not guard then return end
  local left_ms = task.cancelled and task.shields == 0 and SLICE_MS or guard.ends_ms - loop.now_ms()
  core.guard(task.co, SLICE_MS, left_ms)
end

function resume(task, ...)
  if coroutine.status(task.co) ~= "suspended" then return end
  local before = current
  current = task
  arm(task)
  local ok, what = coroutine.resume(task.co, ...)
  current = before
  if not ok then return end_hard(task, what) end
  if what ~= WAIT and coroutine.status(task.co) == "suspended" then schedule(task) end
end

-- ── Waiting ──

local function check_cancelled(task)
  if task.cancelled and task.shields == 0 then error(CANCELED, 0) end
end

local function wake(task, token, ...)
  if task.token ~= token then return end -- woken already, or cancelled
  task.token = nil
  schedule(task, ...)
end

local function woken(task, ...)
  task.token = nil
  check_cancelled(task)
  return ...
end

local function running_task()
  local task = current
  if not task or coroutine.running() ~= task.co then
    error("a call that waits must be made in a task (see mycorrizal.task)", 3)
  end
  return task
end

--- Calls start(…, callback) and waits for the callback, whose arguments it returns. When `start`
--- returns nothing true, no callback is to come, and its results are returned: nil, message, code.
---@param start fun(...): any, string?, string?
---@param ... any
---@return any ...
function M.await(start, ...)
  local task = running_task()
  check_cancelled(task)
  local token = {}
  task.token = token
  local arguments = table.pack(...)
  arguments[arguments.n + 1] = function(...) wake(task, token, ...) end
  local started, message, code = start(table.unpack(arguments, 1, arguments.n + 1))
  if not started then
    task.token = nil
    return nil, message, code
  end
  return woken(task, coroutine.yield(WAIT))
end

--- Waits.
---@param duration number|string seconds, or "200ms"
function M.sleep(duration)
  local ms = text.duration_ms(duration)
  local stop
  local task = running_task()
  task.on_cancel = function() stop() end
  M.await(function(callback)
    stop = loop.after(ms, callback)
    return true
  end)
  task.on_cancel = nil
end

--- Lets everything else that is ready run first.
function M.yield()
  M.await(function(callback)
    loop.defer(callback)
    return true
  end)
end

-- ── Life ──

local function on_raised(raised)
  if raised == CANCELED then return { cancelled = true } end
  return { message = raised, traceback = debug.traceback(tostring(raised), 2) }
end

local function wait_for_children(task)
  while task.children[1] do
    task.token = {}
    local token = task.token
    task.children[1].on_end[#task.children[1].on_end + 1] = function() wake(task, token) end
    coroutine.yield(WAIT) -- no checkpoint: a cancelled parent waits too
  end
end

local function forget_child(parent, child)
  for i, other in ipairs(parent.children) do
    if other == child then
      table.remove(parent.children, i)
      return
    end
  end
end

local function report_failure(task)
  local parent = task.parent
  if task.joined then return end
  if parent then
    parent.failure = parent.failure or task
    parent:cancel()
  else
    M.on_error(task.traceback or tostring(task.error))
  end
end

-- A guarded task that was ended by force counts as cancelled, whatever was raised in it.
local function note_overrun(task)
  local guard = task.guard
  if guard and not task.cancelled and loop.now_ms() >= guard.ends_ms then task.cancelled = "ETIMEDOUT" end
  return guard and task.cancelled
end

local function take_outcome(task, results)
  local raised = not results[1] and results[2]
  local failure = task.failure
  if failure then
    task.status, task.error, task.traceback = "failed", failure.error, failure.traceback
  elseif not raised then
    task.status, task.results = "done", table.pack(table.unpack(results, 2, results.n))
  elseif raised.cancelled or note_overrun(task) then
    task.status = "cancelled"
  else
    task.status, task.error, task.traceback = "failed", raised.message, raised.traceback
  end
end

local function tell_end(task)
  if task.parent then forget_child(task.parent, task) end
  if task.status == "failed" then report_failure(task) end
  for _, callback in ipairs(task.on_end) do callback() end
end

local function cancel_children(task)
  for _, child in ipairs({ table.unpack(task.children) }) do child:cancel() end
end

local function begin(task, fn, ...)
  check_cancelled(task)
  return fn(...)
end

local function body(task, fn, ...)
  local results = table.pack(xpcall(begin, on_raised, task, fn, ...))
  if not results[1] then cancel_children(task) end
  wait_for_children(task)
  take_outcome(task, results)
  tell_end(task)
  return WAIT
end

-- A guarded task past its deadline may not run another instruction: not even to wait for its children.
function end_hard(task, message)
  task.status, task.error = note_overrun(task) and "cancelled" or "failed", message
  task.traceback = debug.traceback(task.co, tostring(message))
  cancel_children(task)
  tell_end(task)
end

local function new(parent, guard, fn, ...)
  local task = setmetatable(
    { status = "running", parent = parent, guard = guard, children = {}, on_end = {}, shields = 0 }, Task)
  task.co = coroutine.create(body)
  if parent then parent.children[#parent.children + 1] = task end
  schedule(task, task, fn, ...)
  return task
end

--- Starts a child of the running task. Its error, unless somebody joins it, ends the parent too.
---@param fn fun(...): any
---@return myco.task
function M.spawn(fn, ...)
  local parent = running_task()
  check_cancelled(parent)
  return new(parent, parent.guard, fn, ...)
end

--- Starts a task without a parent, from anywhere.
---@param fn fun(...): any
---@return myco.task
function M.start(fn, ...)
  return new(nil, nil, fn, ...)
end

--- Starts a task without a parent that is suspended every 10 ms that it runs, and raises after
--- `limit`, so that code which people typed can't hang the loop. Slower than others.
---@param limit number|string
---@param fn fun(...): any
---@return myco.task
function M.start_guarded(limit, fn, ...)
  local ms = text.duration_ms(limit)
  local task = new(nil, { ends_ms = loop.now_ms() + ms }, fn, ...)
  local stop = loop.after(ms, function() task:cancel("ETIMEDOUT") end)
  task.on_end[1] = stop
  return task
end

--- Cancels it and its children: each ends at its next checkpoint, at once when it waits.
---@param reason string?
function Task:cancel(reason)
  if self.status ~= "running" or self.cancelled then return end
  self.cancelled = reason or "ECANCELED"
  for _, child in ipairs({ table.unpack(self.children) }) do child:cancel(reason) end
  if self.shields > 0 or not self.token then return end
  if self.on_cancel then self.on_cancel() end
  self.on_cancel = nil
  wake(self, self.token)
end

local function outcome(task)
  if task.status == "failed" then error(task.error, 0) end
  if task.status == "cancelled" then
    if task.cancelled == "ETIMEDOUT" then return nil, "timed out", "ETIMEDOUT" end
    return nil, "cancelled", "ECANCELED"
  end
  return table.unpack(task.results, 1, task.results.n)
end

--- Waits until it ended. Returns what it returned; raises what it raised; nil, message, code when
--- it was cancelled.
---@return any ...
function Task:join()
  self.joined = true
  if self.status == "running" then
    M.await(function(callback)
      self.on_end[#self.on_end + 1] = callback
      return true
    end)
  end
  return outcome(self)
end

--- Runs fn(…), at most for `limit`: then nil, "timed out", "ETIMEDOUT".
---@param limit number|string
---@param fn fun(...): any
---@return any ...
function M.deadline(limit, fn, ...)
  local child = M.spawn(fn, ...)
  child.on_end[1] = loop.after(text.duration_ms(limit), function() child:cancel("ETIMEDOUT") end)
  return child:join()
end

--- Runs fn(…) to its end even when the task is cancelled meanwhile: for cleaning up that has to wait.
---@param fn fun(...): any
---@return any ...
function M.shield(fn, ...)
  local task = running_task()
  task.shields = task.shields + 1
  local results = table.pack(pcall(fn, ...))
  task.shields = task.shields - 1
  if not results[1] then error(results[2], 0) end
  return table.unpack(results, 2, results.n)
end

--- The running task, or nil outside of tasks.
---@return myco.task?
function M.current()
  return current
end

return M
