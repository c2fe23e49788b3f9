-- JSON with exact 64-bit integers (lua-cjson's numbers are floating point, which versions and
-- counters do not survive) and with keys in order. A string that is not UTF-8 is written as
-- {"base64": "…"}. An empty table is an array, unless it came from an empty map.

local M <const> = {}

local DEPTH_MAX <const> = 100
local ESCAPES <const> = {
  ['"'] = '\\"', ["\\"] = "\\\\", ["\b"] = "\\b", ["\f"] = "\\f", ["\n"] = "\\n", ["\r"] = "\\r",
  ["\t"] = "\\t",
}
local UNESCAPES <const> = { b = "\b", f = "\f", n = "\n", r = "\r", t = "\t" }

local function escape(char)
  return ESCAPES[char] or ("\\u%04x"):format(char:byte())
end

local DIGITS <const> = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

local function base64(bytes)
  local out = {}
  for i = 1, #bytes, 3 do
    local a, b, c = bytes:byte(i, i + 2)
    local group = a << 16 | (b or 0) << 8 | (c or 0)
    for shift = 18, 0, -6 do
      local digit = (group >> shift & 63) + 1
      out[#out + 1] = DIGITS:sub(digit, digit)
    end
    if not c then out[#out] = "=" end
    if not b then out[#out - 1] = "=" end
  end
  return table.concat(out)
end

local function write_string(value)
  if not utf8.len(value) then return '{"base64":"' .. base64(value) .. '"}' end
  return '"' .. value:gsub('[%c"\\\127]', escape) .. '"'
end

local function write_number(value)
  if math.type(value) == "integer" then return ("%d"):format(value) end
  if value ~= value or value == math.huge or value == -math.huge then return "null" end
  if value == math.floor(value) and math.abs(value) < 1e15 then return ("%.1f"):format(value) end
  return ("%.17g"):format(value)
end

--- Whether a table is written as a list: its keys are 1 … n.
---@param value table
---@return boolean
function M.is_array(value)
  local count = 0
  for key in pairs(value) do
    if math.type(key) ~= "integer" then return false end
    count = count + 1
  end
  if count == 0 then return getmetatable(value) == nil end
  return count == #value
end

local write

local function write_array(value, depth)
  local out = {}
  for i = 1, #value do out[i] = write(value[i], depth + 1) end
  return "[" .. table.concat(out, ",") .. "]"
end

local function write_object(value, depth)
  local names, by_name, out = {}, {}, {}
  for key, item in pairs(value) do
    local name = tostring(key)
    if by_name[name] == nil then names[#names + 1] = name end
    by_name[name] = item
  end
  table.sort(names)
  for i, name in ipairs(names) do
    local key = utf8.len(name) and write_string(name) or write_string((name:gsub("[\128-\255]", "?")))
    out[i] = key .. ":" .. write(by_name[name], depth + 1)
  end
  return "{" .. table.concat(out, ",") .. "}"
end

function write(value, depth)
  local kind = type(value)
  if kind == "string" then return write_string(value) end
  if kind == "number" then return write_number(value) end
  if kind ~= "table" then return kind == "boolean" and tostring(value) or "null" end
  if depth > DEPTH_MAX then error("a table is nested too deeply, or holds itself", 0) end
  return M.is_array(value) and write_array(value, depth) or write_object(value, depth)
end

--- One line of JSON. Raises for a table that holds itself; functions and the like become null.
---@param value any
---@return string
function M.encode(value)
  return write(value, 0)
end

-- ── Reading ──

local read

local function fail(source, at, what)
  error({ json = ("%s at byte %d"):format(what, math.min(at, #source + 1)) }, 0)
end

local function skip(source, at)
  return source:find("[^ \t\r\n]", at) or #source + 1
end

local function read_unicode(source, at)
  local high = tonumber(source:match("^%x%x%x%x", at) or "none", 16)
  if not high then fail(source, at, "a wrong \\u") end
  if high < 0xD800 or high > 0xDBFF then return utf8.char(high), at + 4 end
  local low = tonumber(source:match("^\\u(%x%x%x%x)", at + 4) or "none", 16)
  if not low or low < 0xDC00 or low > 0xDFFF then fail(source, at, "half of a surrogate pair") end
  return utf8.char(0x10000 + (high - 0xD800) * 1024 + low - 0xDC00), at + 10
end

local function read_string(source, at)
  local out, start = {}, at + 1
  while true do
    local stop = source:find('["\\%c]', start)
    if not stop then fail(source, #source + 1, "a string without an end") end
    out[#out + 1] = source:sub(start, stop - 1)
    local char = source:sub(stop, stop)
    if char == '"' then return table.concat(out), stop + 1 end
    if char ~= "\\" and char ~= "\127" then fail(source, stop, "a control character in a string") end
    local escaped = source:sub(stop + 1, stop + 1)
    if char == "\127" then
      out[#out + 1], start = char, stop + 1
    elseif escaped == "u" then
      out[#out + 1], start = read_unicode(source, stop + 2)
    elseif UNESCAPES[escaped] or escaped:match('["\\/]') then
      out[#out + 1], start = UNESCAPES[escaped] or escaped, stop + 2
    else
      fail(source, stop, "a wrong escape")
    end
  end
end

local function read_number(source, at)
  local number = source:match("^-?%d+%.?%d*[eE]?[+-]?%d*", at)
  local digits = number and number:match("^-?(%d+)")
  if not digits or not tonumber(number) or (
    #digits > 1 and digits:byte() == 48) or number:match("%.$") or number:match("%.[eE]") then
    fail(source, at, "a wrong number")
  end
  return tonumber(number), at + #number
end

local function read_array(source, at, depth)
  local out = {}
  at = skip(source, at + 1)
  if source:sub(at, at) == "]" then return out, at + 1 end
  while true do
    out[#out + 1], at = read(source, at, depth + 1)
    at = skip(source, at)
    local char = source:sub(at, at)
    if char == "]" then return out, at + 1 end
    if char ~= "," then fail(source, at, "neither , nor ]") end
    at = at + 1
  end
end

local function read_object(source, at, depth)
  local out = require("mycorrizal.msgpack").map()
  at = skip(source, at + 1)
  if source:sub(at, at) == "}" then return out, at + 1 end
  while true do
    at = skip(source, at)
    if source:sub(at, at) ~= '"' then fail(source, at, "no name of a member") end
    local key, colon = read_string(source, at)
    at = skip(source, colon)
    if source:sub(at, at) ~= ":" then fail(source, at, "no :") end
    out[key], at = read(source, at + 1, depth + 1)
    at = skip(source, at)
    local char = source:sub(at, at)
    if char == "}" then return next(out) == nil and out or setmetatable(out, nil), at + 1 end
    if char ~= "," then fail(source, at, "neither , nor }") end
    at = at + 1
  end
end

local WORDS <const> = { t = { "true", true }, f = { "false", false }, n = { "null", nil } }

function read(source, at, depth)
  if depth > DEPTH_MAX then fail(source, at, "nested too deeply") end
  at = skip(source, at)
  local char = source:sub(at, at)
  if char == '"' then return read_string(source, at) end
  if char == "{" then return read_object(source, at, depth) end
  if char == "[" then return read_array(source, at, depth) end
  local word = WORDS[char]
  if not word then return read_number(source, at) end
  if source:sub(at, at + #word[1] - 1) ~= word[1] then fail(source, at, "an unknown word") end
  return word[2], at + #word[1]
end

--- The value of a JSON text; null is nil, so that a member that is null is absent.
---@param source string
---@return any value
---@return string? message
---@return string? code
function M.decode(source)
  local ok, value, stop = pcall(read, source, 1, 0)
  if not ok then
    if type(value) ~= "table" then error(value, 0) end
    return nil, value.json, "EPROTO"
  end
  if skip(source, stop) <= #source then return nil, ("more text at byte %d"):format(stop), "EPROTO" end
  return value
end

return M
