-- A node as Lua sees it: the handle, and the four systems on it.

local core <const> = require "mycorrizal.core"
local cytoplasm <const> = require "mycorrizal.cytoplasm"
local hypha <const> = require "mycorrizal.hypha"
local mycel <const> = require "mycorrizal.mycel"
local nodosum <const> = require "mycorrizal.nodosum"
local task <const> = require "mycorrizal.task"
local text <const> = require "mycorrizal.text"

local M <const> = {}

---@class myco.node
---@field name string
---@field id string 16 hex digits
---@field listen string address of its peers' port
---@field admin string TCP address for pulse, "" without
---@field socket string path of pulse's socket
---@field mycel myco.mycel
---@field cytoplasm myco.cytoplasm
---@field nodosum myco.nodosum
---@field hypha myco.hypha
---@field modules table<string, myco.running_module>
local Node <const> = {}
Node.__index = Node

local READY_EVERY <const> = 0.01

--- Whether the cluster exists and this node serves in it.
---@return boolean
function Node:is_ready()
  return core.is_open(self.handle) and core.ready(self.handle)
end

--- Waits until it is ready.
---@param timeout number|string? default 30 s
---@return true?
---@return string? message
---@return string? code
function Node:ready(timeout)
  local left_ms = text.duration_ms(timeout or 30)
  while not core.ready(self.handle) do
    if left_ms <= 0 then return nil, "the node is not ready", "ETIMEDOUT" end
    task.sleep(READY_EVERY)
    left_ms = left_ms - READY_EVERY * 1000
  end
  return true
end

--- A document about the node or the cluster: members, leaders, septa, hyphae, policies, status, metrics.
---@param topic string
---@return table? document
---@return string? message
---@return string? code
function Node:inspect(topic)
  return core.inspect(self.handle, topic)
end

--- Leaves the cluster: hands over, flushes, frees. Also at the end of a `local node <close>`.
---@return true?
---@return string? message
---@return string? code
function Node:close()
  if not self.owned or not core.is_open(self.handle) then return true end
  return task.shield(task.await, core.close, self.handle)
end

Node.__close = Node.close
Node.__tostring = function(self) return ("node %s (%s)"):format(self.name, self.id) end

--- Wraps a handle. `owned`: this program opened it, and closes it.
---@param handle userdata
---@param owned boolean
---@return myco.node
function M.new(handle, owned)
  local self = setmetatable(core.about(handle), Node)
  self.handle, self.owned, self.modules = handle, owned, {}
  self.mycel, self.cytoplasm = mycel.new(self), cytoplasm.new(self)
  self.nodosum, self.hypha = nodosum.new(self), hypha.new(self)
  return self
end

return M
