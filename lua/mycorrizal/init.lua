-- Mycorrizal from Lua: one handle, few verbs.
--
--     local myco = require "mycorrizal"
--     local node <close> = assert(myco.open { name = "api-1", join = { "10.0.0.1:7946" } })
--     local carts = node.mycel:septum("carts", { kind = "durable" })
--     carts:put("u:7", { items = 3 })
--
-- Calls that wait are made in tasks (mycorrizal.task); a program run by `mycorrizal lua FILE` is one.
-- What can happen returns nil, message, code; a wrong call raises.

local core <const> = require "mycorrizal.core"
local node <const> = require "mycorrizal.node"
local options <const> = require "mycorrizal.options"

local M <const> = {}

M.version = core.version()

--- Starts a node on this program's loop; its addresses are bound when this returns. Closing it
--- leaves the cluster.
---@param given myco.options
---@return myco.node? node
---@return string? message
---@return string? code
function M.open(given)
  local handle, message, code = core.open(options.for_open(given))
  if not handle then return nil, message, code end
  return node.new(handle, true)
end

return M
