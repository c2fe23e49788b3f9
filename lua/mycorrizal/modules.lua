-- The modules of a node: what its configuration names, started with it and stopped when it closes.
--
-- What can be known beforehand (no such module, no such option, a wrong type) refuses the node's
-- start. A module that fails when it starts, or later, is reported and stopped; the node goes on.

local core <const> = require "mycorrizal.core"
local loop <const> = require "mycorrizal.io.loop"
local module <const> = require "mycorrizal.module"
local task <const> = require "mycorrizal.task"

local M <const> = {}

local STOP_LIMIT <const> = "1s"

---@class myco.running_module in node.modules, by name
---@field name string
---@field doc string
---@field options table
---@field status "starting"|"running"|"failed"|"stopped"
---@field error string? why it failed
---@field handle table? what its start returned

-- ── What is wanted ──

-- "metrics" or { "metrics", listen = "…" }
local function split_item(item)
  if type(item) == "string" then return item, {} end
  if type(item) ~= "table" or type(item[1]) ~= "string" then return nil end
  local given = {}
  for name, value in pairs(item) do
    if name ~= 1 then given[name] = value end
  end
  return item[1], given
end

-- The command line repeats by name alone what the configuration names with options.
local function add(entries, kind, given)
  local before = entries[kind.name]
  if before and next(given) == nil then return true end
  if before and next(before.given) ~= nil then
    return nil, ("module %s is named twice with options"):format(kind.name), "EINVAL"
  end
  local options, message, code = module.settle(kind, given)
  if not options then return nil, message, code end
  local entry = before or { order = #entries + 1 }
  entry.kind, entry.given, entry.options = kind, given, options
  entries[kind.name], entries[entry.order] = entry, entry
  return true
end

--- Reads modules = { "metrics", { "metrics", listen = "…" }, … }: loads each and settles its options.
---@param declared any
---@return table[]? entries for start()
---@return string? message
---@return string? code
function M.resolve(declared)
  local entries = {}
  if type(declared or {}) ~= "table" then return nil, "modules is no table", "EINVAL" end
  for key in pairs(declared or {}) do
    if math.type(key) ~= "integer" then
      return nil, ('modules: "%s" is in the place of a number; write { "%s", option = … }'):format(key, key), "EINVAL"
    end
  end
  for _, item in ipairs(declared or {}) do
    local word, given = split_item(item)
    if not word then return nil, 'modules: an item is neither "NAME" nor { "NAME", option = … }', "EINVAL" end
    local kind, message, code = module.load(word)
    local added = kind and true
    if kind then added, message, code = add(entries, kind, given) end
    if not added then return nil, message, code end
  end
  return entries
end

-- ── Running ──

local function stop_handle(running)
  local handle = running.handle
  running.handle = nil
  if not handle then return end
  local ok, stopped, _, code = pcall(task.deadline, STOP_LIMIT, handle.stop, handle)
  if not ok then core.report(("module %s: stop: %s"):format(running.name, stopped)) end
  if code == "ETIMEDOUT" then core.report(("module %s: it took too long to stop"):format(running.name)) end
end

local function fail(running, message)
  running.status, running.error = "failed", tostring(message):match("^[^\n]*")
  core.report(("module %s: %s"):format(running.name, message))
  task.start(stop_handle, running)
end

local function run(node, running, start)
  local handle, message, code = start(node, running.options)
  if handle == nil and message then return fail(running, ("%s (%s)"):format(message, code)) end
  if type(handle) ~= "table" or type(handle.stop) ~= "function" then
    return fail(running, "its start returned no handle with a function 'stop'")
  end
  running.handle = handle
  if running.status == "stopped" then return stop_handle(running) end
  running.status = "running"
end

-- The task lasts as long as those that the module spawned: an error in one of them is the module's.
local function on_end(running)
  local ended = running.task
  if ended.status == "failed" and running.status ~= "stopped" then fail(running, ended.traceback or ended.error) end
end

local function start(node, entry, order)
  local kind = entry.kind
  local running = { name = kind.name, doc = kind.doc, options = entry.options, status = "starting", order = order }
  node.modules[kind.name] = running
  running.task = task.start(run, node, running, kind.start)
  running.task.joined = true -- its error is reported here
  running.task.on_end[1] = function() on_end(running) end
end

--- Starts what resolve() gave, in order, each in a task of its own. They are then in node.modules.
---@param node myco.node
---@param entries table[]
function M.start(node, entries)
  for i, entry in ipairs(entries) do start(node, entry, i) end
end

local function stop_all(node)
  local all = {}
  for _, running in pairs(node.modules) do all[#all + 1] = running end
  table.sort(all, function(a, b) return a.order > b.order end)
  for _, running in ipairs(all) do
    if running.status ~= "failed" then running.status = "stopped" end
    stop_handle(running)
    running.task:cancel()
  end
end

--- Stops all, the last one first, each for at most a second; then calls back.
---@param node myco.node
---@param callback fun()
function M.stop(node, callback)
  local stopping = task.start(stop_all, node)
  stopping.on_end[1] = function() loop.defer(callback) end
end

return M
