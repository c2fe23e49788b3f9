-- Changes of a key that its primary computes from what is there: counters, appends, lifetimes,
-- exchanges. One round trip each, and none conflicts with another.

local core <const> = require "mycorrizal.core"
local fence <const> = require "mycorrizal.fence"
local task <const> = require "mycorrizal.task"
local text <const> = require "mycorrizal.text"
local value <const> = require "mycorrizal.value"

---@class myco.change.options
---@field ttl number|string|false|nil how long it lives from now; false: for ever
---@field keep_ttl boolean? what is there keeps its time
---@field if_version integer? only when this is its version
---@field if_absent boolean? only when there is no such key
---@field if_present boolean? only when there is one
---@field timeout number|string?
---@field fence any a duty, a lock, { name =, epoch = } or "NAME:EPOCH"

local M <const> = {}

--- A time to live as the primary takes it: false is for ever.
function M.ttl_ms(ttl)
  if ttl == nil then return nil end
  return ttl == false and -1 or text.duration_ms(ttl)
end

--- { kind, key, value, … } as core.change() takes it.
---@param kind string
---@param key string
---@param bytes string?
---@param options myco.change.options?
---@return table
function M.of(kind, key, bytes, options)
  local change = { kind = kind, key = key, value = bytes }
  if not options then return change end
  change.ttl_ms, change.keep_ttl = M.ttl_ms(options.ttl), options.keep_ttl
  change.if_version, change.if_absent = options.if_version, options.if_absent
  change.if_present = options.if_present
  return change
end

local function ask(septum, change, options)
  local timeout_ms = text.optional_ms(options, "timeout")
  local name, epoch = fence.of(options)
  return task.await(core.change, septum.handle, change, timeout_ms, name, epoch)
end

--- Gives septa the methods below.
---@param Septum myco.septum
local function install(Septum)
  --- Adds to a counter, and returns the sum. One that is absent begins at options.initial (0), as
  --- text; a number that `put` stored stays a number. ERANGE: beyond 64 bits. EINVAL: no number.
  ---@param key string
  ---@param delta integer? default 1
  ---@param options (myco.change.options|{ initial: integer? })?
  ---@return integer? sum
  ---@return integer|string? version, or message
  ---@return string? code
  function Septum:incr(key, delta, options)
    local change = M.of("incr", key, nil, options)
    change.delta, change.initial = delta or 1, options and options.initial
    local done, version, code, sum = ask(self, change, options)
    if not done then return nil, done == false and "not found" or version, code or "ENOTFOUND" end
    return sum, version
  end

  --- Adds bytes to the end of a value, and returns its size.
  ---@param key string
  ---@param bytes string
  ---@param options myco.change.options?
  ---@return integer? size
  ---@return integer|string? version, or message
  ---@return string? code
  function Septum:append(key, bytes, options)
    local done, version, code, size = ask(self, M.of("append", key, bytes, options), options)
    if not done then return nil, done == false and "not found" or version, code or "ENOTFOUND" end
    return size, version
  end

  --- Gets a value, and lets it live for `ttl` from now (nil: the septum's default, false: for
  --- ever); nil alone when it is absent.
  ---@param key string
  ---@param ttl number|string|false|nil
  ---@param options myco.change.options?
  ---@return any value
  ---@return integer|string? version, or message
  ---@return integer|string? expires_in_ms, or code
  function Septum:touch(key, ttl, options)
    local change = M.of("touch", key, nil, options)
    change.ttl_ms = M.ttl_ms(ttl)
    local bytes, version, expires = ask(self, change, options)
    if not bytes then return nil, version, expires end
    return value.decode(bytes), version, expires > 0 and expires or nil
  end

  --- Another time to live, as of `touch`; false when there is no such key.
  ---@param key string
  ---@param ttl number|string|false|nil
  ---@param options myco.change.options?
  ---@return boolean? done
  ---@return string? message
  ---@return string? code
  function Septum:expire(key, ttl, options)
    local change = M.of("expire", key, nil, options)
    change.ttl_ms = M.ttl_ms(ttl)
    local done, message, code = ask(self, change, options)
    if not done then return done, message, code end
    return true
  end

  --- Stores a value and gives the former one: nil when there was none.
  ---@param key string
  ---@param item any
  ---@param options myco.change.options?
  ---@return any former
  ---@return integer|string? version of the new one, or message
  ---@return string? code
  function Septum:swap(key, item, options)
    local bytes, message, why = value.encode(item)
    if not bytes then return nil, message, why end
    local former, version, code, there = ask(self, M.of("swap", key, bytes, options), options)
    if not former then return nil, former == false and "not found" or version, code or "ENOTFOUND" end
    if there == 0 then return nil, version end
    return value.decode(former), version
  end

  --- Deletes a key and gives what was there; nil alone when it is absent.
  ---@param key string
  ---@param options myco.change.options?
  ---@return any former
  ---@return string? message
  ---@return string? code
  function Septum:take(key, options)
    local former, message, code = ask(self, M.of("take", key, nil, options), options)
    if not former then return nil, message, code end
    return value.decode(former)
  end

  -- A put with what plain puts don't know.
  function Septum:put_changed(key, bytes, options)
    local done, version, code = ask(self, M.of("put", key, bytes, options), options)
    if done == false then return nil, "not found", "ENOTFOUND" end
    if not done then return nil, version, code end
    return version
  end
end

return setmetatable(M, { __call = function(_, Septum) install(Septum) end })
