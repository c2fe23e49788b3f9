-- Other programs: started, fed, listened to, awaited.

local loop <const> = require "mycorrizal.io.loop"
local task <const> = require "mycorrizal.task"
local uv <const> = require "luv"

local M <const> = {}

---@class myco.process
---@field pid integer
---@field out string what it wrote on stdout so far
---@field err string the same of stderr, unless that goes to a file
---@field status integer? once it ended: its exit status, or 128 + signal
local Process <const> = {}
Process.__index = Process

local function wake(self)
  local waiting = self.waiting
  self.waiting = {}
  for _, callback in ipairs(waiting) do loop.defer(function() callback(true) end) end
end

local function collect(self, pipe, name)
  self.open = self.open + 1
  pipe:read_start(function(_, chunk)
    if chunk then
      self[name] = self[name] .. chunk
    else
      pipe:close()
      self.open = self.open - 1
    end
    wake(self)
  end)
end

local function feed(pipe, input)
  pipe:write(input, function() pipe:close() end)
end

local function close_all(...)
  for i = 1, select("#", ...) do
    local pipe = select(i, ...)
    if pipe then pipe:close() end
  end
end

--- Starts a program; argv[1] is its path, or a name that is looked up in PATH. Its stdin holds `input`, or nothing.
---@param argv string[]
---@param options { input: string?, log: string?, detached: boolean? }? log: a file to which stderr is appended;
--- detached: in a session of its own, so that Ctrl-C reaches it only through us
---@return myco.process?
---@return string? message
---@return string? code
function M.spawn(argv, options)
  options = options or {}
  local self = setmetatable({ out = "", err = "", open = 0, waiting = {} }, Process)
  local stdin, stdout = uv.new_pipe(false), uv.new_pipe(false)
  local log = options.log and assert(uv.fs_open(options.log, "a", 420)) -- 0644
  local stderr = not log and uv.new_pipe(false)
  local handle, pid
  handle, pid = uv.spawn(argv[1], {
    args = table.move(argv, 2, #argv, 1, {}), stdio = { stdin, stdout, log or stderr },
    detached = options.detached,
  }, function(code, signal)
    self.status = signal ~= 0 and 128 + signal or code
    handle:close()
    wake(self)
  end)
  if log then uv.fs_close(log) end
  if not handle then
    close_all(stdin, stdout, stderr)
    return nil, ("%s: %s"):format(argv[1], pid), "EIO"
  end
  self.pid, self.handle = pid, handle
  feed(stdin, options.input or "")
  collect(self, stdout, "out")
  if stderr then collect(self, stderr, "err") end
  return self
end

--- Starts a program with our own stdin, stdout and stderr; on_end() is called once it ended.
---@param argv string[]
---@param environment table<string, string> besides ours
---@param on_end fun()
---@return myco.process?
---@return string? message
---@return string? code
function M.run(argv, environment, on_end)
  local self = setmetatable({ out = "", err = "", open = 0, waiting = {} }, Process)
  local variables = {}
  for name, value in pairs(uv.os_environ()) do
    if not environment[name] then variables[#variables + 1] = name .. "=" .. value end
  end
  for name, value in pairs(environment) do variables[#variables + 1] = name .. "=" .. value end
  local handle, pid
  handle, pid = uv.spawn(argv[1], {
    args = table.move(argv, 2, #argv, 1, {}), env = variables, stdio = { 0, 1, 2 },
  }, function(code, signal)
    self.status = signal ~= 0 and 128 + signal or code
    handle:close()
    wake(self)
    loop.defer(on_end)
  end)
  if not handle then return nil, ("%s: %s"):format(argv[1], pid), "EIO" end
  self.pid, self.handle = pid, handle
  return self
end

--- Waits until something happened to it: it wrote, or ended.
function Process:wait_event()
  task.await(function(callback)
    self.waiting[#self.waiting + 1] = callback
    return true
  end)
end

--- Waits for its end and that of its output.
---@return integer status
function Process:wait_end()
  while not self.status or self.open > 0 do self:wait_event() end
  return self.status
end

--- Sends it a signal; nothing when it ended.
---@param signal string such as "sigterm"
function Process:kill(signal)
  if not self.status then self.handle:kill(signal) end
end

return M
