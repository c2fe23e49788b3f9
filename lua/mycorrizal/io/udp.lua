-- Datagrams: sockets that tasks send on and receive from, multicast included.

local loop <const> = require "mycorrizal.io.loop"
local stream <const> = require "mycorrizal.io.stream"
local task <const> = require "mycorrizal.task"
local text <const> = require "mycorrizal.text"
local uv <const> = require "luv"

local M <const> = {}

local UNREAD_MAX <const> = 256 -- datagrams; what comes then is dropped, as a full socket would

---@class myco.udp
---@field address string as bound
---@field dropped integer datagrams that came while nobody read
local Socket <const> = {}
Socket.__index = Socket

local function format_address(ip, port)
  return (ip:find(":", 1, true) and "[%s]:%d" or "%s:%d"):format(ip, port)
end

local function on_datagram(self, data, from)
  if not data or not from then return end
  if #self.unread >= UNREAD_MAX then
    self.dropped = self.dropped + 1
    return
  end
  self.unread[#self.unread + 1] = { data, format_address(from.ip, from.port) }
  local waiting = self.waiting
  self.waiting = nil
  if waiting then waiting(true) end
end

local function join_group(handle, options)
  local group, interface = options.group, options.interface
  if interface == "" then interface = nil end
  local ok, message = true, nil
  if interface then ok, message = handle:set_multicast_interface(interface) end
  if ok and group then ok, message = handle:set_membership(group, interface or "0.0.0.0", "join") end
  if ok and options.ttl then ok, message = handle:set_multicast_ttl(options.ttl) end
  if ok then ok, message = handle:set_multicast_loop(true) end -- others may run on this machine
  return ok, message
end

--- Opens a socket. `shared`: others on this machine may bind the same port (of a multicast group).
--- `multicast`: it sends to a group, without being of it.
---@param options { bind: string?, group: string?, interface: string?, ttl: integer?, shared: boolean?,
---  multicast: boolean? }
---@return myco.udp?
---@return string? message
---@return string? code
function M.open(options)
  local address, wrong, code = stream.parse_address(options.bind or "0.0.0.0:0")
  if not address or address.path then return nil, wrong or "a socket's path is no UDP address", code or "EINVAL" end
  local handle = assert(uv.new_udp())
  local self = setmetatable({ handle = handle, unread = {}, dropped = 0, closed = false }, Socket)
  local ok, message = handle:bind(address.host, address.port, { reuseaddr = options.shared or false })
  if ok and (options.group or options.multicast) then ok, message = join_group(handle, options) end
  if ok then
    ok, message = handle:recv_start(function(_, data, from) on_datagram(self, data, from) end)
  end
  if not ok then
    self:close()
    return nil, ("UDP %s: %s"):format(options.bind or "", message), "EIO"
  end
  local name = handle:getsockname()
  self.address = format_address(name.ip, name.port)
  return self
end

--- Sends one datagram; what the system does not take at once is lost, as on the network.
---@param data string
---@param to string ADDRESS:PORT
---@return true?
---@return string? message
---@return string? code
function Socket:send(data, to)
  local address, wrong, code = stream.parse_address(to)
  if not address then return nil, wrong, code end
  if self.closed then return nil, "closed", "ECLOSED" end
  local sent, message = self.handle:try_send(data, address.host, address.port)
  if not sent then return nil, ("send to %s: %s"):format(to, message), "EIO" end
  return true
end

local function wait(self, ms)
  local stop
  local _ <close> = setmetatable({}, { __close = function() stop() end })
  task.await(function(callback)
    self.waiting = callback
    stop = loop.after(ms, callback)
    return true
  end)
  self.waiting = nil
end

--- The next datagram, and from where; nil, "timed out", "ETIMEDOUT".
---@param timeout number|string
---@return string? data
---@return string from, or a message
---@return string? code
function Socket:receive(timeout)
  if #self.unread == 0 and not self.closed then wait(self, text.duration_ms(timeout)) end
  if self.closed then return nil, "closed", "ECLOSED" end
  local first = table.remove(self.unread, 1)
  if not first then return nil, "timed out", "ETIMEDOUT" end
  return first[1], first[2]
end

--- Closes it; who receives gets ECLOSED.
function Socket:close()
  if self.closed then return end
  self.closed = true
  if not self.handle:is_closing() then self.handle:close() end
  local waiting = self.waiting
  self.waiting = nil
  if waiting then loop.defer(function() waiting(true) end) end
end

Socket.__close = Socket.close

return M
