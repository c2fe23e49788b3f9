-- A cluster of nodes that are processes of their own, each with an address and a folder that outlast it: started,
-- stopped, killed, started anew with another program.

local helper <const> = require "spec.support.helper"
local json <const> = require "mycorrizal.json"
local task <const> = require "mycorrizal.task"
local uv <const> = require "luv"

local M <const> = {}

---@class spec.cluster
---@field folder string
---@field nodes table<string, table> by name: {name, listen, socket, data, log, process}
local Cluster <const> = {}
Cluster.__index = Cluster

--- Ports that nobody has now: all are held until each is known, so that they differ.
---@param count integer
---@return integer[]
local function free_ports(count)
  local held, ports = {}, {}
  while #ports < count do
    local tcp, udp = uv.new_tcp(), uv.new_udp()
    assert(tcp:bind("127.0.0.1", 0))
    local port = tcp:getsockname().port
    if udp:bind("127.0.0.1", port) then ports[#ports + 1] = port end
    held[#held + 1], held[#held + 2] = tcp, udp
  end
  for _, handle in ipairs(held) do handle:close() end
  return ports
end

--- A cluster of these names, with nothing started yet. `options` holds for all nodes: program, expect, args.
---@param names string[]
---@param options { program: string?, expect: integer?, args: string[]? }?
---@return spec.cluster
function M.new(names, options)
  local self = setmetatable(
    { folder = helper.new_folder(), nodes = {}, names = names, options = options or {} }, Cluster)
  local ports = free_ports(#names)
  for i, name in ipairs(names) do
    local data = ("%s/%s.myco"):format(self.folder, name)
    self.nodes[name] = {
      name = name, listen = "127.0.0.1:" .. ports[i], data = data, socket = data .. "/pulse.sock",
      log = ("%s/%s.log"):format(self.folder, name),
    }
  end
  local first = {}
  for i = 1, math.min(3, #names) do first[i] = self.nodes[names[i]].listen end
  self.join = table.concat(first, ",")
  return self
end

--- Starts a node and does not wait. Options go before those of the cluster.
---@param name string
---@param options { program: string?, expect: integer?, args: string[]? }?
---@return table node
function Cluster:spawn(name, options)
  local given = setmetatable(options or {}, { __index = self.options })
  local node = self.nodes[name]
  local argv = {
    given.program or helper.build .. "/bin/mycorrizal", "run", "--name", name, "--cluster", "shop", "--data", node.data,
    "--listen", node.listen, "--join", self.join,
  }
  if given.expect then table.move({ "--expect", tostring(given.expect) }, 1, 2, #argv + 1, argv) end
  table.move(given.args or {}, 1, #(given.args or {}), #argv + 1, argv)
  node.process = helper.spawn(argv, { log = node.log })
  return node
end

--- Waits until a node said that it is ready; raises when it ended instead.
---@param name string
function Cluster:wait_ready(name)
  local node = self.nodes[name]
  local ready = task.deadline(15, function()
    while not node.process.out:find("\n", 1, true) and not node.process.status do node.process:wait_event() end
    return json.decode(node.process.out:match("^[^\n]*"))
  end)
  if not ready then error(("%s did not become ready:\n%s"):format(name, self:log(name)), 2) end
  node.id = ready.id
  return node
end

--- Starts all of these at once and waits until they are ready.
---@param names string[]
---@param options table?
function Cluster:start(names, options)
  for _, name in ipairs(names) do self:spawn(name, options) end
  for _, name in ipairs(names) do self:wait_ready(name) end
end

--- Ends a node by a signal and waits for it.
---@param name string
---@param signal string? sigterm
---@return integer status
function Cluster:stop(name, signal)
  local process = self.nodes[name].process
  process:kill(signal or "sigterm")
  return (assert(task.deadline(15, function() return process:wait_end() end), name .. " did not end"))
end

--- Waits for the end of a node that ends by itself.
---@param name string
---@return integer status
function Cluster:wait_end(name)
  local process = self.nodes[name].process
  return (assert(task.deadline(15, function() return process:wait_end() end), name .. " did not end"))
end

--- What a node wrote on stderr so far.
---@param name string
---@return string
function Cluster:log(name)
  local file <close> = assert(io.open(self.nodes[name].log, "rb"))
  return file:read("a")
end

--- Runs pulse on a node.
---@param name string
---@param ... string
---@return { out: string, err: string, status: integer }
function Cluster:pulse(name, ...)
  return helper.pulse(self.nodes[name], { ... })
end

--- The document that `pulse … --json` writes; nil and the message when it fails.
---@param name string
---@param ... string
---@return any
---@return string? message
function Cluster:ask(name, ...)
  local words = { ... }
  words[#words + 1] = "--json"
  local ended = helper.pulse(self.nodes[name], words)
  if ended.status ~= 0 then return nil, ended.err end
  return json.decode(ended.out)
end

--- Ends all that runs and removes the folder.
function Cluster:close()
  for _, node in pairs(self.nodes) do
    if node.process then node.process:kill("sigkill") end
  end
  for _, node in pairs(self.nodes) do
    if node.process then task.deadline(15, function() return node.process:wait_end() end) end
  end
  helper.remove(self.folder)
end

return M
