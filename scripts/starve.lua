-- Holds a process to a share of a core: by a cgroup of its own (version 2 or 1), or by stopping it most of the time.

local uv <const> = require "luv"

local M <const> = {}

local PERIOD_MS <const> = 100

--- Of files that the kernel made: none is created.
local function write(path, text)
  local file = io.open(path, "r+")
  if not file then return false end
  local ok = file:write(text) and file:close()
  return ok and true or false
end

--- `limits`: files to write, in order; the last one takes the process in.
local function by_group(folder, limits)
  if not uv.fs_mkdir(folder, 493) then return nil end -- 0755
  for _, limit in ipairs(limits) do
    if not write(folder .. "/" .. limit[1], limit[2]) then
      uv.fs_rmdir(folder)
      return nil
    end
  end
  return { how = folder, stop = function() uv.fs_rmdir(folder) end }
end

local function by_signals(process, percent)
  local timer, running_ms = uv.new_timer(), math.max(1, PERIOD_MS * percent // 100)
  local function run()
    process:kill("sigcont")
    timer:start(running_ms, 0, function()
      process:kill("sigstop")
      timer:start(PERIOD_MS - running_ms, 0, run)
    end)
  end
  run()
  return { how = "SIGSTOP and SIGCONT", stop = function()
    timer:stop()
    timer:close()
    process:kill("sigcont")
  end }
end

--- Starves it from now on. The answer says how, and stop() ends it (of a group: once the process has ended).
---@param process process
---@param percent integer of one core
---@param how string? "signals": although a group could be made; it then is away in each period, whatever it would need
---@return { how: string, stop: fun() }
function M.start(process, percent, how)
  local period_us = PERIOD_MS * 1000
  local quota, name = period_us * percent // 100, "mycorrizal-soak-" .. process.pid
  if how == "signals" then return by_signals(process, percent) end
  return by_group("/sys/fs/cgroup/" .. name,
      { { "cpu.max", ("%d %d"):format(quota, period_us) }, { "cgroup.procs", tostring(process.pid) } })
    or by_group("/sys/fs/cgroup/cpu/" .. name,
      { { "cpu.cfs_period_us", tostring(period_us) }, { "cpu.cfs_quota_us", tostring(quota) },
        { "cgroup.procs", tostring(process.pid) } })
    or by_signals(process, percent)
end

return M
