-- Mycel, the cache and store: septa and their keys.

local core <const> = require "mycorrizal.core"
local fence <const> = require "mycorrizal.fence"
local task <const> = require "mycorrizal.task"
local text <const> = require "mycorrizal.text"
local value <const> = require "mycorrizal.value"

local M <const> = {}

---@class myco.septum
---@field name string
local Septum <const> = {}
Septum.__index = Septum
Septum.__tostring = function(self) return ("septum %s"):format(self.name) end

---@class myco.mycel
local Mycel <const> = {}

local PAGE_SIZE <const> = 512
local ATTEMPTS_MAX <const> = 100

-- ── Septa ──

--- "hyphae=64 kind=durable ttl=30d" of a table.
local function spec(options)
  if options == nil or type(options) == "string" then return options end
  local fields = {}
  for name, field in pairs(options) do
    if type(field) == "table" then error(("option %s of a septum is a table"):format(name), 4) end
    fields[#fields + 1] = ("%s=%s"):format(
      name, math.type(field) == "float" and ("%g"):format(field) or tostring(field))
  end
  table.sort(fields)
  return table.concat(fields, " ")
end

--- Opens a septum; with options (kind, ttl, replicas, idle, size …: `pulse septum NAME` shows all) it is created
--- when it is absent. `mycel.NAME` opens one that exists.
---@param name string
---@param options table|string?
---@return myco.septum?
---@return string? message
---@return string? code
function Mycel.septum(self, name, options)
  local known = rawget(self, "opened")[name]
  if known and options == nil then return known end
  local handle, message, code = task.await(core.septum, rawget(self, "node").handle, name, spec(options), 0)
  if not handle then return nil, message, code end
  known = known or setmetatable({ name = name, handle = handle, node = rawget(self, "node") }, Septum)
  rawget(self, "opened")[name] = known
  return known
end

--- Changes options of a septum: what is named; the rest stays. mycel:alter("carts", { ttl = "1d" })
---@param name string
---@param options table|string
---@return integer? version how often they were changed
---@return string? message
---@return string? code
function Mycel.alter(self, name, options)
  return task.await(core.septum_alter, rawget(self, "node").handle, name, spec(options), 0)
end

--- What septa there are: {name, id, kind, hyphae, replicas, ttl_ms, level} each.
---@return table[]?
---@return string? message
---@return string? code
function Mycel.septa(self)
  return rawget(self, "node"):inspect("septa")
end

local LOSS_AWAY <const>, LOSS_LOOK <const> = 1, 2 -- MYCO_LOSS_AWAY, MYCO_LOSS_LOOK

--- Goes on without data that is lost: of hyphae whose last in-sync members never come back, the copy that goes furthest
--- among those that live becomes the primary, or an empty one. Options: septum, hyphae (a list of numbers; nil: all of
--- the septum that are lost), look (true: only looks), away (true: also where the members are merely away, and may come
--- back with what they had), reason (kept in the log and the events), timeout.
--- Returns for each hypha {septum, hypha, epoch, in_sync = {{node, state}}, copies = {{node, epoch, offset, keys}},
--- goes_on, empty, persisted, certain, accepted}. EBUSY: an in-sync member lives, or may come back.
---@param options { septum: string, hyphae: integer[]?, look: boolean?, away: boolean?, reason: string?, timeout: any }
---@return table[]?
---@return string? message
---@return string? code
function Mycel.accept_loss(self, options)
  local flags = (options.away and LOSS_AWAY or 0) | (options.look and LOSS_LOOK or 0)
  return task.await(core.accept_loss, rawget(self, "node").handle, options.septum, options.hyphae, flags,
    options.reason, text.optional_ms(options, "timeout"))
end

-- mycel.NAME: a method, or the septum of that name.
local function index(self, name)
  if Mycel[name] or type(name) ~= "string" then return Mycel[name] end
  return (Mycel.septum(self, name))
end

-- For completion.
local function names(self)
  local out = {}
  for name in pairs(Mycel) do out[#out + 1] = name end
  for _, septum in ipairs(Mycel.septa(self) or {}) do out[#out + 1] = septum.name end
  return out
end

local META <const> = { __index = index, __names = names, __tostring = function() return "mycel" end }

-- ── One key ──

--- Stores a value. Options: ttl (false: for ever), keep_ttl (what is there keeps its own),
--- if_version, if_absent, if_present, timeout, and fence: a duty, a lock, { name =, epoch = } or
--- "NAME:EPOCH". EFENCED: the septum was shown a newer epoch of that name.
---@param key string
---@param item any a string, number, boolean, or table of such
---@param options myco.change.options?
---@return integer? version
---@return string? message
---@return string? code
function Septum:put(key, item, options)
  local bytes, message, code = value.encode(item)
  if not bytes then return nil, message, code end
  return self:put_bytes(key, bytes, options)
end

--- Stores bytes as they are: what another program will read.
---@param key string
---@param bytes string
---@param options table?
---@return integer? version
---@return string? message
---@return string? code
function Septum:put_bytes(key, bytes, options)
  if options and (options.keep_ttl or options.if_present or options.ttl == false) then
    return self:put_changed(key, bytes, options)
  end
  local ttl_ms, timeout_ms = text.optional_ms(options, "ttl"), text.optional_ms(options, "timeout")
  local version, if_absent = options and options.if_version or 0, options and options.if_absent or false
  local name, epoch = fence.of(options)
  return task.await(core.put, self.handle, key, bytes, version, ttl_ms, if_absent, timeout_ms, name, epoch)
end

--- The value and its version; nil alone when it is absent. After a read with a fence older epochs
--- are refused.
---@param key string
---@param options { timeout: number|string?, fence: any }?
---@return any value
---@return integer|string? version, or message
---@return integer|string? expires_in_ms, or code
function Septum:get(key, options)
  local bytes, version, expires = self:get_bytes(key, options)
  if not bytes then return nil, version, expires end
  return value.decode(bytes), version, expires
end

--- The bytes as they lie there.
---@param key string
---@param options { timeout: number|string? }?
---@return string? bytes
---@return integer|string? version, or message
---@return integer|string? expires_in_ms, or code
function Septum:get_bytes(key, options)
  local timeout_ms = text.optional_ms(options, "timeout")
  local name, epoch = fence.of(options)
  return task.await(core.get, self.handle, key, timeout_ms, name, epoch)
end

--- true when it was deleted, false when it was absent.
---@param key string
---@param options { if_version: integer?, timeout: number|string?, fence: any }?
---@return boolean?
---@return string? message
---@return string? code
function Septum:del(key, options)
  local version = options and options.if_version or 0
  local timeout_ms = text.optional_ms(options, "timeout")
  local name, epoch = fence.of(options)
  return task.await(core.del, self.handle, key, version, timeout_ms, name, epoch)
end

--- Changes a value by compare-and-swap until it holds: change(value or nil) returns the new one, or
--- nil to leave it. It may run several times.
---@param key string
---@param change fun(value: any): any
---@param options table? as put's
---@return any value the new one; what was there when `change` returned nil
---@return integer|string? version, or message
---@return string? code
function Septum:update(key, change, options)
  for attempt = 1, ATTEMPTS_MAX do
    local item, version, code = self:get(key, options)
    if item == nil and version then return nil, version, code end
    local fresh = change(item)
    if fresh == nil then return item, version end
    local put = { ttl = options and options.ttl, timeout = options and options.timeout }
    put.fence = options and options.fence
    put.if_version, put.if_absent = version, version == nil
    local done, message, failed = self:put(key, fresh, put)
    if done then return fresh, done end
    if failed ~= "ECONFLICT" and failed ~= "EEXISTS" then return nil, message, failed end
    task.sleep(math.random() * 0.001 * math.min(attempt, 20))
  end
  return nil, ("'%s' changed under %d attempts"):format(key, ATTEMPTS_MAX), "ECONFLICT"
end

require("mycorrizal.changes")(Septum)
require("mycorrizal.many")(Septum)
require("mycorrizal.watch")(Septum)
require("mycorrizal.loader")(Septum)

-- ── Many keys ──

--- How many keys there are, that begin with `prefix` if it is given.
---@param prefix string?
---@param options { timeout: number|string? }?
---@return integer?
---@return string? message
---@return string? code
function Septum:count(prefix, options)
  if type(prefix) == "table" then prefix, options = nil, prefix end
  return task.await(core.count, self.handle, prefix or "", text.optional_ms(options, "timeout"))
end

--- One page of a scan by prefix: a flat list of key, value bytes, version, and the cursor of the
--- next page ("" at the end).
---@param prefix string?
---@param cursor string?
---@param options { limit: integer?, keys_only: boolean?, timeout: number|string? }?
---@return table? page
---@return string cursor, or message
---@return string? code
function Septum:page(prefix, cursor, options)
  local limit, keys_only = options and options.limit or PAGE_SIZE, options and options.keys_only or false
  local timeout_ms = text.optional_ms(options, "timeout")
  return task.await(core.scan, self.handle, prefix or "", cursor or "", limit, keys_only, timeout_ms)
end

--- for key, value, version in septum:scan("u:") do … end. By hypha, then by key; raises when a page
--- can't be had.
---@param prefix string?
---@param options { keys_only: boolean?, timeout: number|string? }?
---@return fun(): string?, any, integer?
function Septum:scan(prefix, options)
  local page, cursor, at = {}, nil, 1
  local decode = not (options and options.keys_only)
  return function()
    while at > #page do
      if cursor == "" then return nil end
      local message
      page, message = self:page(prefix, cursor, options)
      if not page then error(message, 2) end
      cursor, at = message, 1
    end
    local key, bytes, version = page[at], page[at + 1], page[at + 2]
    at = at + 3
    return key, decode and value.decode(bytes) or nil, version
  end
end

--- The mycel of a node.
---@param node myco.node
---@return myco.mycel
function M.new(node)
  return setmetatable({ node = node, opened = {} }, META)
end

return M
