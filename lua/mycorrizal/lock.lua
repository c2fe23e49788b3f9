-- Locks, semaphores and barriers: nodosum:lock(), :semaphore(), :barrier().

local core <const> = require "mycorrizal.core"
local task <const> = require "mycorrizal.task"
local text <const> = require "mycorrizal.text"

local M <const> = {}

---@class myco.lock
---@field name string
---@field fence string what septa know it by: give the lock itself as their option `fence`
---@field epoch integer the fencing token
---@field held boolean false once it was given back or lost
local Lock <const> = {}
Lock.__index = Lock
Lock.__tostring = function(self) return ("lock %s"):format(self.name) end

--- Gives it back.
function Lock:unlock()
  self.held = false
  if self.handle then core.release(self.handle) end
  self.handle = nil
end

Lock.close = Lock.unlock
Lock.__close = Lock.unlock

local function lost(lock, on_lost)
  lock.held = false
  if on_lost then task.start(on_lost, lock) end
end

--- What the cluster says of it: first that it is held, or why not; then perhaps that it is lost.
local function ask(lock, node, permits, wait_ms, try, on_lost, answer)
  local first = true
  local handle, message, code = core.lock(node.handle, lock.name, permits, try, wait_ms, function(state)
    if not first then return lost(lock, on_lost) end
    first = false
    lock.held, lock.epoch, lock.fence = state.held, state.epoch, state.fence
    answer(state)
  end)
  lock.handle = handle
  return handle and true, message, code
end

-- Mutexes of each node by name: {lock, thread} of who got it last here.
local mutexes <const> = setmetatable({}, { __mode = "k" })

local function held_by_this_task(node, name)
  local last = mutexes[node] and mutexes[node][name]
  return last and last.lock.held and last.thread == coroutine.running()
end

local function remember(node, lock)
  mutexes[node] = mutexes[node] or setmetatable({}, { __mode = "v" })
  lock.owner = { lock = lock, thread = coroutine.running() } -- lives as long as the lock
  mutexes[node][lock.name] = lock.owner
end

--- Waits until one of `permits` is held; options: wait (0: only when one is free now), on_lost(lock).
---@param node myco.node
---@param name string
---@param permits integer
---@param options { wait: number|string?, on_lost: fun(lock: myco.lock)? }?
---@return myco.lock?
---@return string? message
---@return string? code
function M.lock(node, name, permits, options)
  if permits == 1 and held_by_this_task(node, name) then
    return nil, ("lock %s: this task holds it already, and would wait for itself"):format(name), "EBUSY"
  end
  local wait = options and options.wait
  local try = wait ~= nil and text.duration_ms(wait) == 0
  local wait_ms = try and 0 or text.optional_ms(options, "wait")
  local lock = setmetatable({ name = name, held = false, epoch = 0 }, Lock)
  -- whatever ends this call without a lock, a cancelled task included, gives it back
  local _ <close> = setmetatable({}, { __close = function() if not lock.held then lock:unlock() end end })
  local state, message, code = task.await(ask, lock, node, permits, wait_ms, try, options and options.on_lost)
  if not state then return nil, message, code end
  if not lock.held then return nil, ("lock %s: %s"):format(name, state.message), state.code end
  if permits == 1 then remember(node, lock) end
  return lock
end

---@class myco.barrier
---@field name string
---@field parties integer
local Barrier <const> = {}
Barrier.__index = Barrier
Barrier.__tostring = function(self) return ("barrier %s of %d"):format(self.name, self.parties) end

local function meet(barrier, name, options)
  local wait_ms = text.optional_ms(options, "wait")
  return task.await(core.barrier, barrier.node.handle, name, barrier.parties, wait_ms)
end

--- Waits until all parties entered; then all pass. Returns an epoch, the same for all of them.
---@param options { wait: number|string? }?
---@return integer? epoch
---@return string? message
---@return string? code
function Barrier:enter(options)
  return meet(self, self.name, options)
end

--- Waits until all parties left: for what is to begin and to end together.
---@param options { wait: number|string? }?
---@return integer? epoch
---@return string? message
---@return string? code
function Barrier:leave(options)
  return meet(self, self.name .. ":leave", options)
end

--- The barrier of that name; entering it asks the cluster.
---@param node myco.node
---@param name string
---@param parties integer
---@return myco.barrier
function M.barrier(node, name, parties)
  return setmetatable({ node = node, name = name, parties = parties }, Barrier)
end

return M
