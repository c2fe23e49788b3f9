-- The loop: later turns, timers, time, and what is still open. Only files of this folder require luv.

local uv <const> = require "luv"

local M <const> = {}

local deferred, idle = {}, nil

-- What is deferred while these run waits for the turn after.
local function run_deferred()
  local now = deferred
  deferred = {}
  for i = 1, #now do now[i]() end
  if #deferred == 0 then idle:stop() end
end

--- Calls `fn` on a later turn of the loop, never before this returns. It must not raise.
---@param fn fun()
function M.defer(fn)
  idle = idle or assert(uv.new_idle())
  if idle:is_closing() then return end -- the state is being closed
  deferred[#deferred + 1] = fn
  if not idle:is_active() then assert(idle:start(run_deferred)) end
end

--- Calls `fn` once after `ms`; the function that is returned stops it, and may be called at any time.
---@param ms number
---@param fn fun()
---@return fun() stop
function M.after(ms, fn)
  local timer = assert(uv.new_timer())
  local function stop()
    if not timer:is_closing() then timer:close() end
  end
  uv.update_time()
  assert(timer:start(math.max(0, math.ceil(ms)), 0, function()
    stop()
    fn()
  end))
  return stop
end

--- Milliseconds of a clock that never goes back.
---@return number
function M.now_ms()
  return uv.hrtime() / 1e6
end

--- Bytes of memory that the process holds.
---@return integer
function M.memory()
  return uv.resident_set_memory()
end

-- A request under way, or a handle that is not closed; other things of luv (a folder that is read) don't matter.
local function open_name(value)
  local meta = type(value) == "userdata" and getmetatable(value)
  local name = type(meta) == "table" and rawget(meta, "__name")
  if type(name) ~= "string" or not name:match("^uv_") then return nil end
  if name == "uv_req" then return name end
  return value ~= idle and value.is_closing and not value:is_closing() and name or nil
end

--- The names of luv's handles and requests that are open, for specs: luv keeps them in the registry.
---@return string[]
function M.open_handles()
  local names = {}
  for key, value in pairs(debug.getregistry()) do
    local name = math.type(key) == "integer" and open_name(value)
    if name then names[#names + 1] = name end
  end
  table.sort(names)
  return names
end

return M
