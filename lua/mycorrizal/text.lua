-- What people write for durations and sizes: a number, or a number with a unit.

local M <const> = {}

local MS <const> = { ms = 1, s = 1000, m = 60000, h = 3600000, d = 86400000, w = 604800000 }
local BYTES <const> = {
  B = 1, KiB = 1 << 10, MiB = 1 << 20, GiB = 1 << 30, KB = 1000, MB = 1000000, GB = 1000000000,
  k = 1 << 10, m = 1 << 20, g = 1 << 30,
}

local function parse(value, units, plain, what)
  if type(value) == "number" and value >= 0 then return value * plain end
  if type(value) == "string" then
    local number, unit = value:match("^([%d.]+)%s*(%a*)$")
    local factor = unit == "" and plain or units[unit]
    if tonumber(number) and factor then return tonumber(number) * factor end
  end
  return nil, ("'%s' is no %s"):format(tostring(value), what), "EINVAL"
end

--- Milliseconds of "200ms", "5s", "30d", or of a number of seconds; nil, message, code when it is neither.
---@param value number|string
---@return number? ms
---@return string? message
---@return string? code
function M.parse_duration(value)
  return parse(value, MS, 1000, 'duration (a number of seconds, or "200ms", "5s", "30d")')
end

--- The same; raises.
---@param value number|string
---@return number ms
function M.duration_ms(value)
  local ms, message = M.parse_duration(value)
  return ms or error(message, 3)
end

--- Milliseconds as people say them: "350ms", "12s", "5m", "3h", "2d".
---@param ms number
---@return string
function M.show_duration(ms)
  if ms < 1000 then return ("%dms"):format(ms // 1) end
  for _, unit in ipairs { { 60000, 1000, "s" }, { 3600000, 60000, "m" }, { 172800000, 3600000, "h" } } do
    if ms < unit[1] then return ("%d%s"):format(ms // unit[2], unit[3]) end
  end
  return ("%dd"):format(ms // 86400000)
end

--- Bytes of "64MiB" or of a number; raises when it is neither.
---@param value number|string
---@return integer bytes
function M.size_bytes(value)
  local bytes, message = parse(value, BYTES, 1, 'size (a number of bytes, or "64MiB")')
  return bytes and math.tointeger(bytes // 1) or error(message, 3)
end

--- An optional duration of an options table as whole milliseconds, 0 when it is absent.
---@param options table?
---@param name string
---@return integer ms
function M.optional_ms(options, name)
  local value = options and options[name]
  if value == nil then return 0 end
  return math.max(1, math.ceil(M.duration_ms(value)))
end

return M
