-- Hypha, this node: what it is, how it does, and the functions of its host.

local core <const> = require "mycorrizal.core"

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
