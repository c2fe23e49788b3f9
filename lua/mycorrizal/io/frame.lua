-- Frames of the admin protocol: a length (four bytes, big-endian), then a MessagePack map of that many bytes.

local msgpack <const> = require "mycorrizal.msgpack"

local M <const> = {}

M.SIZE_MAX = 16 << 20

--- The bytes of a frame.
---@param message table
---@return string? bytes
---@return string? message
---@return string? code
function M.encode(message)
  local body, why, code = msgpack.pack(message)
  if not body then return nil, why, code end
  if #body > M.SIZE_MAX then
    return nil, ("the answer has %d bytes, a frame at most %d"):format(#body, M.SIZE_MAX), "ETOOBIG"
  end
  return string.pack(">s4", body)
end

---@class myco.frame_reader
local Reader <const> = {}
Reader.__index = Reader

--- Cuts frames out of a stream of bytes.
---@return myco.frame_reader
function M.reader()
  return setmetatable({ chunks = {}, size = 0 }, Reader)
end

--- Adds bytes that came.
---@param bytes string
function Reader:feed(bytes)
  self.chunks[#self.chunks + 1] = bytes
  self.size = self.size + #bytes
end

local function joined(self)
  if #self.chunks > 1 then self.chunks = { table.concat(self.chunks) } end
  return self.chunks[1] or ""
end

--- The next frame, or nil when it has not come whole; nil, message, code when it is none.
---@return table? message
---@return string? why
---@return string? code
function Reader:next()
  if self.size < (self.wanted or 4) then return nil end
  local bytes = joined(self)
  local length = (">I4"):unpack(bytes)
  if length > M.SIZE_MAX then return nil, ("a frame of %d bytes"):format(length), "ETOOBIG" end
  self.wanted = 4 + length
  if self.size < self.wanted then return nil end
  local body = bytes:sub(5, self.wanted)
  self.chunks, self.size, self.wanted = { bytes:sub(self.wanted + 1) }, self.size - self.wanted, nil
  local message, stop = msgpack.unpack(body)
  if type(message) ~= "table" then return nil, "a frame that holds no map", "EPROTO" end
  if stop ~= #body + 1 then return nil, "a frame with something after its map", "EPROTO" end
  return message
end

return M
