-- Hypha, this node: what it is, how it does, and the functions of its host.

local core <const> = require "mycorrizal.core"
local task <const> = require "mycorrizal.task"

local M <const> = {}

---@class myco.hypha
local Hypha <const> = {}
Hypha.__index = Hypha
Hypha.__tostring = function(self) return ("hypha %s"):format(self.node.name) end

---@class myco.exposed
local Exposed <const> = {}
Exposed.__index = Exposed

--- {name, cluster, id, generation, ready, leader, term, commit_index, uptime_ms, version, …}
---@return table?
---@return string? message
---@return string? code
function Hypha:status()
  return self.node:inspect("status")
end

--- {name, kind, help, value} each.
---@return table[]?
---@return string? message
---@return string? code
function Hypha:metrics()
  return self.node:inspect("metrics")
end

--- Every hypha of every septum, with its holders, as this node knows them.
---@return table[]?
---@return string? message
---@return string? code
function Hypha:hyphae()
  return self.node:inspect("hyphae")
end

--- {mesh, role, hub, connections, over_hubs, peers = {{name, path = "direct"|"hubs"|"none", via, …}}, …}: who is linked
--- with this node, and who is reached over which hub.
---@return table?
---@return string? message
---@return string? code
function Hypha:topology()
  return self.node:inspect("topology")
end

-- ── What happens to the cluster ──

---@class myco.event
---@field sequence integer of this node, from 1 with each start
---@field time_ms integer since 1970, by this node's clock
---@field kind string "member.dead", "election.moved", …
---@field subject string
---@field text string a sentence
---@field fields table<string, string|integer>

local WAITING_MAX <const> = 65536 -- events for one iterator; the oldest give way

local function kept(list, from)
  local at = 0
  return function()
    repeat at = at + 1 until not list[at] or list[at].sequence >= from
    return list[at]
  end
end

local function follow(node, from)
  local queue, first, last, wake = {}, 1, 0, nil
  local held, message, code = core.follow(node.handle, from, function(event)
    last = last + 1
    queue[last] = event
    if last - first >= WAITING_MAX then
      queue[first] = nil
      first = first + 1
    end
    if wake then wake() end
  end)
  if not held then return nil, message, code end
  local closer = setmetatable({}, { __close = function() core.release(held) end })
  return function()
    while first > last do
      task.await(function(callback)
        wake = callback
        return true
      end)
    end
    local event = queue[first]
    queue[first] = nil
    first = first + 1
    return event
  end, nil, nil, closer
end

--- What this node saw happen to the cluster, oldest first, for a `for` loop. `from`: from this number
--- on, -1: only what is to come. `follow`: goes on with what happens from now on, and waits for it.
---@param options { from: integer?, follow: boolean? }?
---@return (fun(): myco.event?)? next
---@return string? message
---@return string? code
---@return table? closing for the loop
function Hypha:events(options)
  local from = options and options.from or 0
  if options and options.follow then return follow(self.node, from) end
  local list, message, code = self.node:inspect("events")
  if not list then return nil, message, code end
  return kept(list, from < 0 and math.maxinteger or from)
end

--- Calls a function that the host exposed.
---@param name string
---@param ... any
---@return any result
---@return string? message
---@return string? code
function Hypha:call(name, ...)
  return core.call(self.node.handle, name, { ... })
end

--- The names of what the host exposed.
---@return string[]
function Hypha:functions()
  local names = core.functions(self.node.handle)
  table.sort(names)
  return names
end

--- Offers a function by name to C, Lua and pulse on this node. It must not wait.
---@param name string
---@param fn fun(...): any
---@return myco.exposed?
---@return string? message
---@return string? code
function Hypha:expose(name, fn)
  local held, message, code = core.expose(self.node.handle, name, fn)
  if not held then return nil, message, code end
  return setmetatable({ held = held }, Exposed)
end

--- Takes it back.
function Exposed:close()
  if self.held then core.release(self.held) end
  self.held = nil
end

Exposed.__close = Exposed.close

--- The hypha of a node.
---@param node myco.node
---@return myco.hypha
function M.new(node)
  return setmetatable({ node = node }, Hypha)
end

return M
