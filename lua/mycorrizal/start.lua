-- The Lua side of a node: the admin server, modules, and what its configuration declares. Called by
-- the bridge with the node's handle and {admin, socket, config, join}; returns {admin = as bound, ready(),
-- close(callback)}, or nil, message and code. Modules run before the node is ready: some say whether it is.

local admin <const> = require "mycorrizal.io.admin"
local discovery <const> = require "mycorrizal.discovery"
local declare <const> = require "mycorrizal.declare"
local modules <const> = require "mycorrizal.modules"
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
  local declared = declare.read(options.config)
  local wanted, wrong, why = modules.resolve(declared.modules)
  if not wanted then return nil, wrong, why end
  local sources, why_not, which = discovery.resolve(options.join)
  if not sources then return nil, why_not, which end
  local server, message, code = admin.start(self, addresses(options))
  if not server then return nil, message, code end
  self.discovery = discovery.start(self, sources)
  modules.start(self, wanted)
  return {
    admin = options.admin and server.listeners[1].address or "",
    ready = function()
      task.start(declare.carry_out, self, declared)
    end,
    close = function(callback)
      server:close()
      modules.stop(self, function() -- tasks that were cancelled have had their turn by then
        self.discovery:stop(callback)
      end)
    end,
  }
end
