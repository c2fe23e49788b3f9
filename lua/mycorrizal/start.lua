-- The Lua side of a node: the admin server, and what its configuration declares. Called by the
-- bridge with the node's handle and {admin, socket, config}; returns {admin = as bound, ready(),
-- close(callback)}.

local admin <const> = require "mycorrizal.io.admin"
local declare <const> = require "mycorrizal.declare"
local loop <const> = require "mycorrizal.io.loop"
local node <const> = require "mycorrizal.node"
local task <const> = require "mycorrizal.task"

local function addresses(options)
  local out = {}
  if options.admin then out[#out + 1] = options.admin end
  if options.socket and options.socket ~= "" then out[#out + 1] = options.socket end
  return out
end

return function(handle, options)
  local self = node.new(handle, false)
  _G.node = self
  local server, message = admin.start(self, addresses(options))
  if not server then error(message, 0) end
  return {
    admin = options.admin and server.listeners[1].address or "",
    ready = function()
      if options.config then task.start(declare.carry_out, self, options.config) end
    end,
    close = function(callback)
      server:close()
      loop.defer(callback) -- tasks that were cancelled have had their turn by then
    end,
  }
end
