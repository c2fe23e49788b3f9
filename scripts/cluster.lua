-- Nodes on this machine, each a process of its own, and pulse to talk to them: for the demonstration and for
-- measurements. Everything that was started is known by its pid, and ends with cluster:kill_all().

local json <const> = require "mycorrizal.json"
local process_module <const> = require "mycorrizal.io.process"
local task <const> = require "mycorrizal.task"
local uv <const> = require "luv"

local M <const> = {}

local READY_WAIT <const> = "20s"
local POLL <const> = "20ms"

-- ── Processes ──

--- Starts a program in a session of its own, so that Ctrl-C reaches it only through us; raises when it can't.
---@param argv string[]
---@param options { log: string? }? log: a file for its stderr
---@return myco.process
function M.spawn(argv, options)
  local process, message = process_module.spawn(argv, { log = options and options.log, detached = true })
  return process or error(message, 2)
end

--- Runs a program to its end; raises when its exit status is not 0.
---@param argv string[]
---@return string out
function M.run(argv)
  local process = M.spawn(argv)
  local status = process:wait_end()
  if status ~= 0 then
    local command = table.concat(argv, " "):sub(1, 200)
    error(("%s: exit status %d: %s"):format(command, status, process.err:gsub("\n$", "")), 2)
  end
  return process.out
end

--- Runs fn(…) as a task, which Ctrl-C and SIGTERM cancel, to its end.
---@param fn fun(...)
---@return boolean ok
---@return any message why not, or what it returned
---@return boolean interrupted
function M.supervise(fn, ...)
  local running = task.start(fn, ...)
  for _, name in ipairs({ "sigint", "sigterm" }) do
    local signal = uv.new_signal()
    signal:start(name, function() running:cancel() end)
    signal:unref()
  end
  local ok, result = pcall(running.join, running)
  return ok and running.status == "done", result, running.status == "cancelled"
end

-- ── Waiting for what comes ──

--- Asks again and again until `ask()` returns something true, which is returned; raises after `limit`.
---@param what string for the message
---@param limit string|number
---@param ask fun(): any
---@param every string? default 20ms
---@return any
function M.wait_until(what, limit, ask, every)
  local found = task.deadline(limit, function()
    local answer = ask()
    while not answer do
      task.sleep(every or POLL)
      answer = ask()
    end
    return answer
  end)
  return found or error(("waited %s for %s"):format(limit, what), 2)
end

-- ── Free ports ──

local function bind_both()
  local tcp, udp = uv.new_tcp(), uv.new_udp()
  assert(tcp:bind("127.0.0.1", 0))
  local port = tcp:getsockname().port
  return { tcp, udp, port = udp:bind("127.0.0.1", port) and port }
end

--- Ports that are free for TCP and UDP just now.
---@param count integer
---@return integer[]
function M.free_ports(count)
  local tried, ports = {}, {}
  while #ports < count do -- all are held until the last is found, so that they differ
    local pair = bind_both()
    tried[#tried + 1] = pair
    ports[#ports + 1] = pair.port or nil
  end
  for _, pair in ipairs(tried) do
    pair[1]:close()
    pair[2]:close()
  end
  return ports
end

-- ── A cluster ──

---@class cluster_node
---@field name string
---@field listen string
---@field data string folder
---@field log string file
---@field process myco.process
---@field admin string address for pulse, once ready

---@class cluster
---@field folder string
---@field nodes cluster_node[]
local Cluster <const> = {}
Cluster.__index = Cluster

--- A cluster that is to be started: its nodes' data folders and logs lie in `folder`, the programs in `bin`.
---@param folder string
---@param bin string
---@param names string[]
---@return cluster
function M.new(folder, bin, names)
  local self = setmetatable({ folder = folder, bin = bin, nodes = {} }, Cluster)
  local join = {}
  for i, port in ipairs(M.free_ports(#names)) do
    join[i] = ("127.0.0.1:%d"):format(port)
    local path = ("%s/%s"):format(folder, names[i])
    self.nodes[i] = { name = names[i], listen = join[i], data = path .. ".myco", log = path .. ".log" }
  end
  self.join = table.concat(join, ",")
  return self
end

--- Starts one node, and remembers its pid in FOLDER/pids for whoever cleans up after us.
---@param node cluster_node
function Cluster:start(node)
  node.admin = nil
  node.process = M.spawn({
    self.bin .. "/mycorrizal", "run", "--name", node.name, "--listen", node.listen, "--admin", "127.0.0.1:0",
    "--join", self.join, "--expect", tostring(#self.nodes), "--data", node.data,
    "--store", ("file:%s/store"):format(self.folder),
  }, { log = node.log })
  local pids <close> = assert(io.open(self.folder .. "/pids", "a"))
  pids:write(node.process.pid, "\n")
end

--- Waits until it says on stdout that it serves.
---@param node cluster_node
function M.wait_ready(node)
  local process = node.process
  local ready = task.deadline(READY_WAIT, function()
    while not process.out:find("\n", 1, true) and not process.status do process:wait_event() end
    return json.decode(process.out:match("^[^\n]*"))
  end)
  if not ready then error(("%s did not become ready"):format(node.name), 2) end
  node.admin = ready.admin
end

function Cluster:start_all()
  for _, node in ipairs(self.nodes) do self:start(node) end
  for _, node in ipairs(self.nodes) do M.wait_ready(node) end
end

--- The node of that name.
---@param name string
---@return cluster_node
function Cluster:node(name)
  for _, node in ipairs(self.nodes) do
    if node.name == name then return node end
  end
  error(("there is no node %s"):format(name), 2)
end

--- Any other node than this.
---@param node cluster_node
---@return cluster_node ...
function Cluster:others(node)
  local others = {}
  for _, other in ipairs(self.nodes) do
    if other ~= node then others[#others + 1] = other end
  end
  return table.unpack(others)
end

function Cluster:kill_all()
  for _, node in ipairs(self.nodes) do
    if node.process then node.process:kill("sigkill") end
  end
  for _, node in ipairs(self.nodes) do
    if node.process then node.process:wait_end() end
  end
end

--- The command line of pulse for a node.
---@param node cluster_node
---@return string[]
function Cluster:pulse_argv(node, ...)
  return { self.bin .. "/pulse", "--connect", node.admin, ... }
end

--- Runs pulse on a node and returns what it wrote; raises when it fails.
---@param node cluster_node
---@param ... string
---@return string
function Cluster:pulse(node, ...)
  return M.run(self:pulse_argv(node, ...))
end

--- The same with --json, decoded.
---@param node cluster_node
---@param ... string
---@return any
function Cluster:ask(node, ...)
  local words = { ... }
  words[#words + 1] = "--json"
  return (json.decode(self:pulse(node, table.unpack(words))))
end

return M
