-- Talks to a node's admin server: requests go out, parts and replies come back by their id.

local files <const> = require "mycorrizal.io.files"
local frame <const> = require "mycorrizal.io.frame"
local stream <const> = require "mycorrizal.io.stream"
local task <const> = require "mycorrizal.task"

local M <const> = {}

---@class pulse.client
---@field address string
local Client <const> = {}
Client.__index = Client

-- ── Which node ──

local function only_live_socket()
  local paths, live = files.node_sockets("."), {}
  for _, path in ipairs(paths) do
    local connected = stream.connect(path)
    if connected then
      connected:close()
      live[#live + 1] = path
    end
  end
  if #live == 1 then return live[1] end
  if #live > 1 then
    return nil, ("which node? --connect one of: %s"):format(table.concat(live, " "))
  end
  local stale = #paths > 0 and (" (nobody answers at %s)"):format(table.concat(paths, " ")) or ""
  return nil, ("there is no node in this folder%s: --connect HOST:PORT or PATH, or set PULSE_CONNECT"):format(stale)
end

--- The address that was given, that of the environment, or the only node's below this folder.
---@param given string?
---@return string? address
---@return string? message
function M.find_address(given)
  given = given or os.getenv("PULSE_CONNECT")
  if given and given ~= "" then return given end
  return only_live_socket()
end

-- ── Requests ──

local function end_all(self, message)
  self.ended = message
  for _, waiting in pairs(self.waiting) do waiting.done({ error = message, code = "ENOTCONN" }) end
  self.waiting = {}
end

local function receive(self, message)
  local waiting = self.waiting[message.id]
  if message.id == 0 then return end_all(self, message.error) end
  if not waiting then return end
  if message.done or message.error then
    self.waiting[message.id] = nil
    waiting.done(message)
  elseif waiting.on_part then
    waiting.on_part(message)
  end
end

local function read_all(self)
  local reader = frame.reader()
  while true do
    local bytes, ended = self.stream:read()
    if not bytes then return end_all(self, self.ended or ("the node hung up (%s)"):format(ended)) end
    reader:feed(bytes)
    local message, why = reader:next()
    while message do
      receive(self, message)
      message, why = reader:next()
    end
    if why then return end_all(self, "the node answers nonsense: " .. why) end
  end
end

--- Connects.
---@param address string
---@return pulse.client?
---@return string? message
---@return string? code
function M.connect(address)
  local connected, message, code = stream.connect(address)
  if not connected then return nil, message, code end
  local self = setmetatable({ address = address, stream = connected, waiting = {}, last_id = 0 }, Client)
  task.start(read_all, self)
  return self
end

--- Sends a request and waits for the reply; on_part(part) is called for what comes before it.
---@param message table
---@param on_part fun(part: table)?
---@return table? reply
---@return string? message
---@return string? code
function Client:request(message, on_part)
  if self.ended then return nil, self.ended, "ENOTCONN" end
  self.last_id = self.last_id + 1
  message.id = self.last_id
  local bytes, why, code = frame.encode(message)
  if not bytes then return nil, why, code end
  local reply
  reply, why, code = task.await(function(callback)
    self.waiting[message.id] = { done = callback, on_part = on_part }
    self.running = message.id
    return self.stream:send(bytes)
  end)
  if not reply then return nil, why, code end
  if reply.error then return nil, reply.error, reply.code end
  return reply
end

--- Asks the node to end the request that was sent last.
function Client:cancel()
  local bytes = self.running and frame.encode({ id = self.running, op = "cancel" })
  if bytes then self.stream:send(bytes) end
end

--- Hangs up.
function Client:close()
  self.stream:close()
end

return M
