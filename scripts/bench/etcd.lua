-- Three members of etcd on loopback, and its JSON interface over kept-alive connections.

local cluster <const> = require "cluster"
local json <const> = require "mycorrizal.json"
local task <const> = require "mycorrizal.task"
local uv <const> = require "luv"

local M <const> = {}

-- ── HTTP/1.1, one request at a time on one connection ──

local function await_connect(port)
  local tcp = uv.new_tcp()
  local ok = task.await(function(callback)
    return tcp:connect("127.0.0.1", port, function(err) callback(not err) end)
  end)
  if ok then return tcp end
  tcp:close()
end

-- The body, once all of it is there: by its length, or in chunks.
local function body_of(text)
  local head, rest = text:match("^(.-\r\n)\r\n(.*)$")
  if not head then return end
  local length = tonumber(head:lower():match("content%-length: (%d+)"))
  if length then return #rest >= length and rest, head:match("^HTTP/1.1 (%d+)") end
  return rest:match("\r\n0\r\n\r\n$") and rest:match("^%x+\r\n(.-)\r\n"), head:match("^HTTP/1.1 (%d+)")
end

local function exchange(tcp, path, body)
  local text = ""
  return task.await(function(callback)
    tcp:read_start(function(err, chunk)
      text = text .. (chunk or "")
      local answer, status = body_of(text)
      if answer or err or not chunk then
        tcp:read_stop()
        callback(answer, status)
      end
    end)
    return tcp:write(("POST %s HTTP/1.1\r\nHost: etcd\r\nContent-Length: %d\r\n\r\n%s"):format(path, #body, body))
  end)
end

--- A client of one member: client.post(path, document) gives the answer's document, or nil.
function M.client(port)
  local client, tcp = {}, nil

  function client.post(path, document, limit)
    local answer, status
    task.deadline(limit or "1s", function()
      tcp = tcp or await_connect(port)
      if tcp then answer, status = exchange(tcp, path, next(document) and json.encode(document) or "{}") end
    end)
    if not answer then client.close() end -- what comes late belongs to nobody
    return status == "200" and json.decode(answer) or nil
  end

  function client.close()
    if tcp and not tcp:is_closing() then tcp:close() end
    tcp = nil
  end

  return client
end

-- ── Members ──

local function start(self, member)
  local argv = {
    self.program, "--name", member.name, "--data-dir", member.data, "--initial-cluster", self.initial,
    "--initial-cluster-state", "new", "--listen-client-urls", member.url, "--advertise-client-urls", member.url,
    "--listen-peer-urls", member.peer, "--initial-advertise-peer-urls", member.peer, "--log-level", "error",
    "--heartbeat-interval", tostring(self.heartbeat), "--election-timeout", tostring(self.election),
  }
  member.process = cluster.spawn(argv, { log = member.data .. ".log" })
  local pids <close> = assert(io.open(self.folder .. "/pids", "a"))
  pids:write(member.process.pid, "\n")
end

local function status(member)
  local client = M.client(member.port)
  local answer = client.post("/v3/maintenance/status", {})
  client.close()
  return answer
end

--- Starts three members; heartbeat and election in ms.
function M.new(folder, program, heartbeat, election)
  local self = { folder = folder, program = program, heartbeat = heartbeat, election = election, nodes = {} }
  local ports, initial = cluster.free_ports(6), {}
  for i = 1, 3 do
    local name = "e" .. i
    self.nodes[i] = {
      name = name, port = ports[i], url = "http://127.0.0.1:" .. ports[i],
      peer = "http://127.0.0.1:" .. ports[i + 3], data = ("%s/etcd-%d-%s"):format(folder, election, name),
    }
    initial[i] = name .. "=" .. self.nodes[i].peer
  end
  self.initial = table.concat(initial, ",")

  function self.start(member)
    start(self, member)
  end

  --- The member that all three say leads; nil while they do not agree.
  function self.leader()
    local leads, who
    for _, member in ipairs(self.nodes) do
      local here = status(member)
      if not here or not here.leader or here.leader == "0" or leads and leads ~= here.leader then return end
      leads = here.leader
      if here.header.member_id == leads then who = member end
    end
    return who, leads
  end

  self.status = status
  return self
end

return M
