-- How Lua values lie in septa and travel in messages: strings as they are, everything else as
-- MessagePack behind a mark.
--
-- The mark is the two bytes C1 4D: C1 never begins a MessagePack value, and never occurs in UTF-8,
-- so that text and documents of other programs are not taken for it. A string that begins with C1
-- is itself kept behind the mark.

local msgpack <const> = require "mycorrizal.msgpack"

local M <const> = {}

local MARK <const> = "\xC1M"

--- The bytes of a value: a string, number, boolean, or table of such.
---@param value any
---@return string? bytes
---@return string? message
---@return string? code
function M.encode(value)
  if type(value) == "string" and value:byte() ~= 0xC1 then return value end
  if value == nil then return nil, "nil is no value", "EINVAL" end
  local bytes, message, code = msgpack.pack(value)
  if not bytes then return nil, message, code end
  return MARK .. bytes
end

--- The value of such bytes; bytes without the mark are a string.
---@param bytes string
---@return any
function M.decode(bytes)
  if bytes:sub(1, 2) ~= MARK then return bytes end
  local value, stop = msgpack.unpack(bytes, 3)
  if stop ~= #bytes + 1 then return bytes end -- not ours
  return value
end

return M
