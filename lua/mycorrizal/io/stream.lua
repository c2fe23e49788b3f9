-- Streams: TCP and Unix sockets, connected and accepted, read and written by tasks.

local loop <const> = require "mycorrizal.io.loop"
local task <const> = require "mycorrizal.task"
local uv <const> = require "luv"

local M <const> = {}

---@class myco.stream
---@field handle userdata
---@field closed boolean
local Stream <const> = {}
Stream.__index = Stream

local UNREAD_MAX <const> = 1 << 20 -- then reading pauses until somebody took it

local CODES <const> = {
  ECONNREFUSED = "ENOTCONN", ENOENT = "ENOTCONN", EADDRINUSE = "EADDRINUSE",
  EADDRNOTAVAIL = "EINVAL", EACCES = "EDENIED",
  ECANCELED = "ECANCELED", ENAMETOOLONG = "ETOOBIG",
}

local SENTENCES <const> = {
  ECONNREFUSED = "nobody listens there", ENOENT = "there is no such socket", EADDRINUSE = "the address is in use",
  EACCES = "it is not allowed",
}

-- luv says "ECONNREFUSED", or "ECONNREFUSED: connection refused".
local function failure(what, message)
  local name = tostring(message):match("^(%u+)")
  return nil, ("%s: %s"):format(what, SENTENCES[name] or tostring(message)), CODES[name] or "EIO"
end

--- "HOST:PORT" with a numeric host or localhost, "[IPv6]:PORT", or the path of a Unix socket (with
--- a slash in it).
---@param address string
---@return { path: string?, host: string?, port: integer? }?
---@return string? message
---@return string? code
function M.parse_address(address)
  if address:find("/", 1, true) then return { path = address } end
  local host, port = address:match("^%[([%x:%.]+)%]:(%d+)$")
  if not host then host, port = address:match("^([^:]*):(%d+)$") end
  if host == "localhost" or host == "" then host = "127.0.0.1" end
  local number = math.tointeger(tonumber(port))
  local numeric = host and (host:match("^%d+%.%d+%.%d+%.%d+$") or host:find(":", 1, true))
  if not numeric or number > 65535 then
    return nil, ("'%s' is neither HOST:PORT nor the path of a socket"):format(address), "EINVAL"
  end
  return { host = host, port = number }
end

-- ── Reading ──

local function take_unread(self)
  local chunk = table.concat(self.unread)
  self.unread, self.unread_size = {}, 0
  if self.paused and not self.closed then
    self.paused = false
    self.handle:read_start(self.on_read)
  end
  return chunk
end

local function on_read(self, message, chunk)
  if chunk then
    self.unread[#self.unread + 1] = chunk
    self.unread_size = self.unread_size + #chunk
    if self.unread_size >= UNREAD_MAX and not self.closed then
      self.paused = true
      self.handle:read_stop()
    end
  else
    self.ended = message or "the peer closed the connection"
  end
  local waiting = self.waiting
  self.waiting = nil
  if waiting then waiting(true) end
end

--- What has come, at least one byte; nil, message, code at the end.
---@return string? bytes
---@return string? message
---@return string? code
function Stream:read()
  while #self.unread == 0 do
    if self.ended or self.closed then return nil, self.ended or "closed", "ECLOSED" end
    task.await(function(callback)
      self.waiting = callback
      return true
    end)
  end
  return take_unread(self)
end

-- ── Writing and closing ──

--- Writes everything; returns once it was handed to the system.
---@param bytes string
---@return true?
---@return string? message
---@return string? code
function Stream:write(bytes)
  if self.closed then return nil, "closed", "ECLOSED" end
  local message = task.await(function(callback)
    return self.handle:write(bytes, function(failed) callback(failed or false) end)
  end)
  if message then return failure("write", message) end
  return true
end

--- Writes without waiting; the bytes that are still queued then.
---@param bytes string
---@return integer? queued
---@return string? message
---@return string? code
function Stream:send(bytes)
  if self.closed or self.handle:is_closing() then return nil, "closed", "ECLOSED" end
  local _, message = self.handle:write(bytes)
  if message then return failure("write", message) end
  return self.handle:get_write_queue_size()
end

--- Says that nothing more will be written; what the peer still sends can be read.
function Stream:finish()
  if not self.closed and not self.handle:is_closing() then self.handle:shutdown() end
end

--- Closes it; who reads gets ECLOSED.
function Stream:close()
  if self.closed then return end
  self.closed = true
  if not self.handle:is_closing() then self.handle:close() end
  local waiting = self.waiting
  self.waiting = nil
  if waiting then loop.defer(function() waiting(true) end) end
end

Stream.__close = Stream.close

local function wrap(handle)
  local self = setmetatable({ handle = handle, unread = {}, unread_size = 0, closed = false }, Stream)
  self.on_read = function(message, chunk) on_read(self, message, chunk) end
  handle:read_start(self.on_read)
  return self
end

-- ── Connecting and listening ──

local function new_handle(address)
  return address.path and uv.new_pipe(false) or uv.new_tcp()
end

local function start_connecting(handle, address, callback)
  local function on_connected(message) callback(message or false) end
  if address.path then return handle:connect(address.path, on_connected) end
  handle:nodelay(true)
  return handle:connect(address.host, address.port, on_connected)
end

--- Connects.
---@param text string address
---@return myco.stream?
---@return string? message
---@return string? code
function M.connect(text)
  local address, message, code = M.parse_address(text)
  if not address then return nil, message, code end
  local handle = new_handle(address)
  local refused, reason = task.await(start_connecting, handle, address)
  if refused == nil or refused then
    handle:close()
    return failure("connect " .. text, refused or reason)
  end
  return wrap(handle)
end

local function accept(server, address, on_stream)
  local handle = new_handle(address)
  if not server:accept(handle) then return handle:close() end
  on_stream(wrap(handle))
end

local function bound_address(server, address)
  if address.path then return address.path end
  local name = server:getsockname()
  return (name.family == "inet6" and "[%s]:%d" or "%s:%d"):format(name.ip, name.port)
end

local function bind(server, address)
  if not address.path then return server:bind(address.host, address.port) end
  local stat = uv.fs_stat(address.path)
  if stat and stat.type == "socket" then uv.fs_unlink(address.path) end -- stale: the folder is ours
  local ok, message = server:bind(address.path)
  if ok then uv.fs_chmod(address.path, 384) end -- 0600, before anybody can connect
  return ok, message
end

---@class myco.listener
---@field address string as bound
local Listener <const> = {}
Listener.__index = Listener

--- Listens, and calls on_stream(stream) for each connection. Does not wait.
---@param text string address; port 0 binds a free one
---@param on_stream fun(stream: myco.stream)
---@return myco.listener?
---@return string? message
---@return string? code
function M.listen(text, on_stream)
  local address, reason, code = M.parse_address(text)
  if not address then return nil, reason, code end
  local server = new_handle(address)
  local ok, message = bind(server, address)
  if ok then
    ok, message = server:listen(128, function(failed)
      if not failed then accept(server, address, on_stream) end
    end)
  end
  if not ok then
    server:close()
    return failure("listen on " .. text, message)
  end
  return setmetatable({ handle = server, address = bound_address(server, address), path = address.path }, Listener)
end

--- Stops listening, and removes the socket's file.
function Listener:close()
  if self.handle:is_closing() then return end
  self.handle:close()
  if self.path then uv.fs_unlink(self.path) end
end

return M
