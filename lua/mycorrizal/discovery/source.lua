-- A source of discovery: one place of the option `join`, and the policy of kind `discovery` that
-- looks there.
--
--     "dns:shop.internal:7946?every=10s"
--       scheme  the policy mycorrizal/policy/discovery/dns.lua; policy:FILE.lua is a file of one's own
--       address as it is written; the policy reads it
--       options those of the policy, and every (30s) and timeout (5s), which are of all
--
-- A discovery policy keeps the contract of all policies: kind, doc, options, one function, examples.
-- But it does I/O, through the kit that it is handed, and so runs as a task in the node's Lua state,
-- not in the sandbox of the others; its examples run with a kit that only knows the answers given.
-- Besides discover(world, options) it may have serve(world, options), which runs as long as the
-- source does, and leave(world, options), which runs when the node closes.

local stream <const> = require "mycorrizal.io.stream"
local text <const> = require "mycorrizal.text"

local M <const> = {}

local SOURCE_MAX <const> = 64 << 10
local FIELDS <const> = {
  kind = "string", doc = "string", options = "table", discover = "function", serve = "function", leave = "function",
  examples = "table",
}
local GLOBALS <const> = {
  "assert", "error", "ipairs", "next", "pairs", "select", "setmetatable", "tonumber", "tostring", "type", "math",
  "string", "table", "utf8",
}

---@class myco.discovery.policy
---@field doc string
---@field options table<string, { type: string, default: any, doc: string }>
---@field discover fun(world: table, options: table): table?, string?, string?
---@field serve (fun(world: table, options: table))?
---@field leave (fun(world: table, options: table))?
---@field examples table[]

-- ── The contract ──

local TYPES <const> = { string = "string", number = "number", integer = "number", boolean = "boolean" }

local function check_option(name, option)
  if type(name) ~= "string" then return "an option's name is no string" end
  if type(option) ~= "table" then return ("option '%s' is not {type, default, doc}"):format(name) end
  if type(option.doc) ~= "string" or option.doc == "" then return ("option '%s' has no doc"):format(name) end
  local fits = TYPES[option.type] == type(option.default)
  if not fits or option.type == "integer" and math.type(option.default) ~= "integer" then
    return ("option '%s': its default is not of type '%s' (string, number, integer, boolean)"):format(
      name, tostring(option.type))
  end
end

local function check_examples(examples)
  if #examples == 0 then return "has no examples" end
  for i, example in ipairs(examples) do
    local given = type(example) == "table" and example.given
    if type(given) ~= "table" then return ("example %d has no 'given'"):format(i) end
    if example.expect == nil then return ("example %d has no 'expect'"):format(i) end
  end
end

local function check_policy(policy)
  if type(policy) ~= "table" then return ("returns a %s, not a policy"):format(type(policy)) end
  for field, value in pairs(policy) do
    if not FIELDS[field] then
      return ("has an unknown field '%s' (known: kind, doc, options, discover, serve, leave, examples)"):format(
        tostring(field))
    end
    if type(value) ~= FIELDS[field] then return ("its %s is a %s"):format(field, type(value)) end
  end
  if policy.kind ~= "discovery" then return ("is of kind '%s', not 'discovery'"):format(tostring(policy.kind)) end
  if not policy.doc or policy.doc == "" then return "it has no doc" end
  if not policy.discover then return "has no function 'discover'" end
  for name, option in pairs(policy.options or {}) do
    local wrong = check_option(name, option)
    if wrong then return wrong end
  end
  return check_examples(policy.examples or {})
end

local function new_globals()
  local env = {}
  for _, name in ipairs(GLOBALS) do env[name] = _G[name] end
  return env
end

--- A policy from its source, checked, but its examples not run.
---@param name string for messages
---@param source string
---@return myco.discovery.policy?
---@return string? message
---@return string? code
function M.load(name, source)
  local function refuse(why) return nil, ("policy discovery/%s: %s"):format(name, why), "EPOLICY" end
  if #source > SOURCE_MAX then return refuse("its source is longer than 64 KiB") end
  local chunk, message = load(source, "=" .. name, "t", new_globals())
  if not chunk then return refuse(message) end
  local ok, policy = pcall(chunk)
  local wrong = not ok and tostring(policy) or check_policy(policy)
  if wrong then return refuse(wrong) end
  return policy
end

-- ── Examples ──

-- A socket on which the datagrams of the list come.
local function recorded_socket(datagrams)
  local at = 0
  local socket = { send = function() return true end, close = function() end }
  function socket.receive()
    at = at + 1
    if datagrams[at] then return datagrams[at], "127.0.0.1:1" end
    return nil, "timed out", "ETIMEDOUT"
  end
  return setmetatable(socket, { __close = socket.close })
end

--- A kit that knows the answers of an example: answers["resolve db.internal A"] = { … }; the
--- datagrams that come to a socket are answers.udp.
---@param answers table<string, any>
---@return table
function M.recorded_kit(answers)
  local kit = { log = function() end, sleep = function() end, json = require "mycorrizal.json", store = {} }
  local now_ms = 0
  kit.now_ms = function()
    now_ms = now_ms + 10
    return now_ms
  end
  kit.udp = function() return recorded_socket(answers.udp or {}) end
  local function answer(...)
    local words = {}
    for i = 1, select("#", ...) do
      local word = select(i, ...)
      if type(word) == "string" and word ~= "" then words[#words + 1] = word end
    end
    local found = answers[table.concat(words, " ")]
    if found == nil then return nil, table.concat(words, " ") .. ": not in the example", "ENOTFOUND" end
    return found
  end
  for _, name in ipairs { "resolve", "http_get", "http_put", "read_file" } do
    kit[name] = function(...) return answer(name, ...) end
  end
  for _, name in ipairs { "list", "get", "put", "del" } do
    kit.store[name] = function(...) return answer("store." .. name, ...) end
  end
  kit.addresses = function(name, port, server)
    return require("mycorrizal.discovery.kit").addresses(kit.resolve, name, port, server)
  end
  return kit
end

local function defaults(policy)
  local options = {}
  for name, described in pairs(policy.options or {}) do options[name] = described.default end
  return options
end

local function same(a, b)
  if type(a) ~= "table" or type(b) ~= "table" then return a == b end
  for key, value in pairs(a) do
    if not same(value, b[key]) then return false end
  end
  for key in pairs(b) do
    if a[key] == nil then return false end
  end
  return true
end

--- Runs the examples of a policy.
---@param name string
---@param policy myco.discovery.policy
---@return true?
---@return string? message
---@return string? code
function M.run_examples(name, policy)
  for i, example in ipairs(policy.examples) do
    local function refuse(why) return nil, ("policy discovery/%s: example %d: %s"):format(name, i, why), "EPOLICY" end
    local world, options = {}, defaults(policy)
    for key, value in pairs(example.given) do world[key] = value end
    for key, value in pairs(world.options or {}) do options[key] = value end
    world.kit, world.options, world.answers = M.recorded_kit(world.answers or {}), nil, nil
    local ok, found, message = pcall(policy.discover, world, options)
    if not ok or not found then return refuse(tostring(ok and message or found)) end
    local expect = example.expect
    if type(expect) ~= "function" then expect = function(answer) return same(answer, example.expect) end end
    local good, holds = pcall(expect, found)
    if not good then return refuse(tostring(holds)) end
    if holds == false then return refuse("the answer is not what it expects") end
  end
  return true
end

-- ── Places ──

local function unescape(value)
  return (value:gsub("%%(%x%x)", function(code) return string.char(tonumber(code, 16)) end))
end

local function read_file(path)
  local file <close>, message = io.open(path, "rb")
  if not file then return nil, message, "ENOTFOUND" end
  return file:read(SOURCE_MAX + 1) or ""
end

local function find_policy(scheme, address)
  local path = scheme == "policy" and address or package.searchpath("mycorrizal.policy.discovery." .. scheme,
    package.path)
  if not path then return nil, ("there is no source '%s'"):format(scheme), "ENOTFOUND" end
  local source, message, code = read_file(path)
  if not source then return nil, message, code end
  return M.load(path:match("([^/]+)%.lua$") or path, source)
end

local READERS <const> = {
  string = function(value) return value end,
  number = tonumber,
  integer = function(value) return math.tointeger(tonumber(value)) end,
  boolean = function(value) return value == "true" or (value ~= "false" and nil) end,
}

local function set_option(source, name, value)
  if name == "every" or name == "timeout" then
    local ms, message = text.parse_duration(value)
    if not ms or ms < 100 then return nil, message or name .. " is less than 100ms" end
    source[name .. "_ms"] = ms
    return true
  end
  local described = source.policy.options and source.policy.options[name]
  if not described then return nil, ("has no option '%s'"):format(name) end
  local read = READERS[described.type](value)
  if read == nil then return nil, ("option %s: '%s' is not of type %s"):format(name, value, described.type) end
  source.options[name] = read
  return true
end

---@class myco.discovery.source
---@field place string as it was given
---@field scheme string
---@field address string
---@field policy myco.discovery.policy
---@field options table
---@field every_ms number
---@field timeout_ms number
---@field status "starting"|"found"|"failed"
---@field found string[] ADDRESS:PORT, by the last run that did not fail
---@field error string? of the last run
---@field failures integer in a row
---@field runs integer
---@field asked_ms number? when, on the loop's clock
---@field next_ms number?

--- Reads a place, and loads its policy.
---@param place string
---@return myco.discovery.source?
---@return string? message
---@return string? code
function M.read(place)
  local scheme, address, words = place:match("^(%l+):([^?]*)%??(.*)$")
  if not scheme then return nil, ("'%s' is no place"):format(place), "EINVAL" end
  address = unescape(address)
  local policy, message, code = find_policy(scheme, address)
  if not policy then return nil, ("join: %s: %s"):format(place, message), code end
  local source = {
    place = place, scheme = scheme, address = address, policy = policy, options = defaults(policy), every_ms = 30000,
    timeout_ms = 5000, status = "starting", found = {}, failures = 0, runs = 0,
  }
  for name, value in words:gmatch("([^&=]+)=([^&]*)") do
    local ok
    ok, message = set_option(source, name, unescape(value))
    if not ok then return nil, ("join: %s: %s"):format(place, message), "EINVAL" end
  end
  return source
end

-- ── Answers ──

local FOUND_MAX <const> = 64

--- What a policy answered, as addresses: its own node and what is beyond 64 left out.
---@param answer any
---@param own table {id, addresses}
---@return string[]?
---@return string? message
function M.check_answer(answer, own)
  if type(answer) ~= "table" then return nil, ("answers a %s, not a list"):format(type(answer)) end
  local mine, out = {}, {}
  for _, address in ipairs(own.addresses) do mine[address] = true end
  for i, item in ipairs(answer) do
    local address, id = item, nil
    if type(item) == "table" then address, id = item.address, item.id end
    local parsed = type(address) == "string" and stream.parse_address(address)
    if not parsed or parsed.path or parsed.port == 0 then
      return nil, ("its answer %d is not ADDRESS:PORT: %s"):format(i, tostring(address))
    end
    if id ~= own.id and not mine[address] and #out < FOUND_MAX then
      out[#out + 1] = address
      mine[address] = true
    end
  end
  return out
end

return M
