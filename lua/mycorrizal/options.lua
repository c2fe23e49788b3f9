-- Options of a node as Lua writes them (durations, lists, tables of labels), and as C reads them.

local text <const> = require "mycorrizal.text"

local M <const> = {}

---@class myco.options
---@field name string? of this node, unique; default: the host's name
---@field cluster string? default "default"
---@field listen string? peers, TCP and UDP; default "127.0.0.1:0"
---@field advertise string? what peers dial, when it differs from listen
---@field admin string? TCP address for pulse besides the socket in the data folder
---@field join string|table? where others are looked for: "HOST:PORT", { dns = "shop.internal" }, or a list of such
---@field data string? folder of this node's state; default "NAME.myco"
---@field store string? object store, "file:DIR"
---@field labels table<string,string>|string?
---@field tls string? folder with ca.pem, node.pem, node.key
---@field key string? file of keys that seal gossip, as `mycorrizal keygen` prints them
---@field store_key string? file of keys that seal objects in the store, or "env:NAME"
---@field expect integer? form one cluster once so many fresh nodes met
---@field timeout number|string? default deadline of every call
---@field lease number|string? of all that a node leads
---@field value_size_max integer|string?
---@field events_max integer? events kept in memory for hypha:events(); default 4096
---@field log "text"|"json"? lines on stderr
---@field log_level string? trace, debug, info, warn (default), error
---@field config string? Lua source of declarations, run once ready
---@field no_lua boolean? no Lua state and no pulse in this node

local SCHEMES <const> = { "static", "dns", "srv", "multicast", "consul", "store", "policy" }

local function escape(value)
  return (tostring(value):gsub("[^%w._~:/%[%]-]", function(char) return ("%%%02X"):format(char:byte()) end))
end

local function find_scheme(place)
  local found
  for _, scheme in ipairs(SCHEMES) do
    if place[scheme] ~= nil and found then error(("join: both '%s' and '%s' in one place"):format(found, scheme), 0) end
    if place[scheme] ~= nil then found = scheme end
  end
  return found or error("join: a place names none of " .. table.concat(SCHEMES, ", "), 0)
end

local function add_words(words, given, skipped)
  local names = {}
  for name in pairs(given) do
    if type(name) == "string" and name ~= skipped then names[#names + 1] = name end
  end
  table.sort(names)
  for _, name in ipairs(names) do words[#words + 1] = name .. "=" .. escape(given[name]) end
end

-- "dns:shop.internal?every=10s" of { dns = "shop.internal", every = "10s" }, as in a configuration file.
local function place_text(place)
  if type(place) == "string" then return place end
  if type(place) ~= "table" then error(("join: %s is no place"):format(tostring(place)), 0) end
  local scheme, words = find_scheme(place), {}
  local value = place[scheme]
  if type(value) == "table" then
    add_words(words, value)
    value = value[1]
  end
  add_words(words, place, scheme)
  local address = (value == nil or value == true) and "" or escape(value)
  return scheme .. ":" .. address .. (#words > 0 and "?" .. table.concat(words, "&") or "")
end

local function join_text(value)
  if type(value) ~= "table" then return value end
  if #value == 0 then return place_text(value) end
  local out = {}
  for i, place in ipairs(value) do out[i] = place_text(place) end
  return table.concat(out, ",")
end

--- "rack=7,zone=a" of a table.
local function labels(value)
  if type(value) ~= "table" then return value end
  local out = {}
  for key, label in pairs(value) do out[#out + 1] = ("%s=%s"):format(key, label) end
  table.sort(out)
  return table.concat(out, ",")
end

local PLAIN <const> = {
  "name", "cluster", "listen", "advertise", "admin", "data", "store", "tls", "key", "store_key", "lua_path", "config",
  "expect", "events_max", "log", "log_level",
}

local KNOWN <const> = {
  join = true, labels = true, timeout = true, lease = true, value_size_max = true, no_lua = true,
}
for _, name in ipairs(PLAIN) do KNOWN[name] = true end

local function milliseconds(value)
  return value and math.ceil(text.duration_ms(value))
end

--- The table that mycorrizal.core.open takes. Raises for what is not an option.
---@param given myco.options
---@return table
function M.for_open(given)
  for name in pairs(given) do
    if not KNOWN[name] then error(("'%s' is no option of a node"):format(tostring(name)), 3) end
  end
  local out = {}
  for _, name in ipairs(PLAIN) do out[name] = given[name] end
  out.join = join_text(given.join)
  out.labels = labels(given.labels)
  out.timeout_ms = milliseconds(given.timeout)
  out.lease_ms = milliseconds(given.lease)
  out.value_size_max = given.value_size_max and text.size_bytes(given.value_size_max)
  out.no_lua = given.no_lua and 1 or nil
  return out
end

return M
