-- Many keys at once: one request for each primary.

local changes <const> = require "mycorrizal.changes"
local core <const> = require "mycorrizal.core"
local fence <const> = require "mycorrizal.fence"
local task <const> = require "mycorrizal.task"
local text <const> = require "mycorrizal.text"
local value <const> = require "mycorrizal.value"

local PART <const> = 4096 -- of one call

local function ask(septum, list, options)
  local timeout_ms = text.optional_ms(options, "timeout")
  local name, epoch = fence.of(options)
  return task.await(core.many, septum.handle, list, timeout_ms, name, epoch)
end

-- done(key, result) for each; nil, message, code when a request as a whole could not be made.
local function each(septum, list, options, done)
  for first = 1, #list, PART do
    local part = table.move(list, first, math.min(first + PART - 1, #list), 1, {})
    local results, message, code = ask(septum, part, options)
    if not results then return nil, message, code end
    for i, result in ipairs(results) do done(part[i].key, result) end
  end
  return true
end

-- The failures of many: { [key] = { message =, code = } }, and the first one as message and code.
local function gather(septum, list, options, take)
  local failures, message, code
  local done, why, failed = each(septum, list, options, function(key, result)
    if not result.code or result.code == "ENOTFOUND" then return take(key, result) end
    failures = failures or {}
    failures[key] = { message = result.message, code = result.code }
    message, code = message or ("'%s': %s"):format(key, result.message), code or result.code
  end)
  if not done then return nil, why, failed end
  return failures, message, code
end

--- Gives septa the methods below.
---@param Septum myco.septum
return function(Septum)
  --- The values of many keys: { [key] = value }, without those that are absent, and their versions.
  --- When some could not be had: nil, message, code of the first, and { [key] = { message, code } }.
  ---@param keys string[]
  ---@param options { timeout: number|string? }?
  ---@return table<string, any>? values
  ---@return table<string, integer>|string versions, or message
  ---@return string? code
  ---@return table<string, table>? failures
  function Septum:get_many(keys, options)
    local list, values, versions = {}, {}, {}
    for i, key in ipairs(keys) do list[i] = { kind = "get", key = key } end
    local failures, message, code = gather(self, list, options, function(key, result)
      if result.value then values[key], versions[key] = value.decode(result.value), result.version end
    end)
    if code then return nil, message, code, failures end
    return values, versions
  end

  --- Stores many values: { [key] = value }, or a list of { key, value } to keep an order. Gives
  --- their versions, { [key] = version }; when some failed: nil, message and code of the first, and
  --- { [key] = { message =, code = } } of all that did. options.raw: values are bytes, stored as
  --- they are.
  ---@param items table
  ---@param options (myco.change.options|{ raw: boolean? })?
  ---@return table<string, integer>? versions
  ---@return string? message
  ---@return string? code
  ---@return table<string, table>? failures
  function Septum:put_many(items, options)
    local list, versions, pairs_of = {}, {}, items
    if #items == 0 then
      pairs_of = {}
      for key, item in pairs(items) do pairs_of[#pairs_of + 1] = { key, item } end
    end
    for i, item in ipairs(pairs_of) do
      local bytes, message, code = item[2], nil, nil
      if not (options and options.raw) then bytes, message, code = value.encode(bytes) end
      if not bytes then return nil, ("'%s': %s"):format(item[1], message), code end
      list[i] = changes.of("put", item[1], bytes, options)
    end
    local failures, message, code = gather(self, list, options, function(key, result)
      versions[key] = result.version
    end)
    if code then return nil, message, code, failures end
    return versions
  end

  --- Deletes many keys; gives how many were there.
  ---@param keys string[]
  ---@param options { timeout: number|string? }?
  ---@return integer? deleted
  ---@return string? message
  ---@return string? code
  ---@return table<string, table>? failures
  function Septum:del_many(keys, options)
    local list, deleted = {}, 0
    for i, key in ipairs(keys) do list[i] = { kind = "del", key = key } end
    local failures, message, code = gather(self, list, options, function(_, result)
      if not result.code then deleted = deleted + 1 end
    end)
    if code then return nil, message, code, failures end
    return deleted
  end
end
