-- Kills leaders and measures how long each is missed, ours and etcd's in turn. Run by scripts/bench/failover in the
-- top folder: failover.lua FOLDER BIN KILLS [ETCD]

package.path = "scripts/?.lua;scripts/bench/?.lua;" .. package.path

local client <const> = require "pulse.client"
local cluster <const> = require "cluster"
local etcd <const> = require "etcd"
local json <const> = require "mycorrizal.json"
local loop <const> = require "mycorrizal.io.loop"
local task <const> = require "mycorrizal.task"

local FOLDER <const>, BIN <const>, KILLS <const>, ETCD <const> = arg[1], arg[2], tonumber(arg[3]), arg[4]
local WRITERS <const> = 8
local ATTEMPT <const> = "200ms"
local ELECTION <const> = "bench"
local SEPTA <const> = 24 -- of one hypha each: one of them is led by whoever leads the group

local function others(nodes, victim)
  local list = {}
  for _, node in ipairs(nodes) do
    if node ~= victim then list[#list + 1] = node end
  end
  return list
end

-- ── A round, of any of the systems ── write, kill, wait for three things, start again

--- put(writer): makes one attempt, true when it was acknowledged.
local function write_on(round, put, number)
  while not round.stop do
    local began_ms = loop.now_ms()
    local stored = put(number)
    if stored then round.acknowledged = round.acknowledged + 1 end
    local after = round.killed_ms and began_ms >= round.killed_ms
    if stored and after and not round.written then round.written = loop.now_ms() - round.killed_ms end
    if not stored then task.sleep("5ms") end
  end
end

local function await(round, what, ask, every)
  cluster.wait_until(what, "20s", ask, every)
  return loop.now_ms() - round.killed_ms
end

--- system: {put, close, is_dead?, is_led, put_fenced?} for the survivors; victim: what is killed.
local function run_round(system, victim)
  local round, writers = { acknowledged = 0 }, {}
  for i = 1, WRITERS do
    writers[i] = task.spawn(write_on, round, system.put, i)
  end
  cluster.wait_until("writes", "10s", function() return round.acknowledged >= 50 end)
  round.killed_ms = loop.now_ms()
  victim.process:kill("sigkill")
  local fenced = system.put_fenced and task.spawn(function()
    round.fenced = await(round, "a fenced write", system.put_fenced, "1ms")
  end)
  local dead = system.is_dead and task.spawn(function() round.dead = await(round, "its death", system.is_dead) end)
  round.led = await(round, "another leader", system.is_led)
  await(round, "a write", function() return round.written end)
  if dead then dead:join() end
  if fenced then fenced:join() end
  round.stop = true
  for _, writer in ipairs(writers) do writer:join() end
  system.close()
  victim.process:wait_end()
  return { dead = round.dead, led = round.led, written = round.written, fenced = round.fenced }
end

-- ── Ours ──

local function command(connection, name, args, flags)
  local answer = task.deadline(ATTEMPT, function()
    return connection:request({ op = "command", name = name, args = args or {}, flags = flags or {}, limit = 1 })
  end)
  return answer and answer.result and (answer.result.value or answer.result)
end

local function leader_of(connection)
  for _, leader in ipairs(command(connection, "leaders") or {}) do
    if leader.subsystem == "nodosum" then return leader.leader end
  end
end

-- A septum that `name` is primary of, with all three copies in sync.
local function septum_of(connections, name)
  for _, connection in ipairs(connections) do
    for _, hypha in ipairs(command(connection, "hyphae") or {}) do
      if hypha.primary_here and hypha.primary == name and #hypha.in_sync == 3 and hypha.septum:match("^bench") then
        return hypha.septum
      end
    end
  end
end

local function connect(nodes, count)
  local list = {}
  for i = 1, count do list[i] = assert(client.connect(nodes[(i - 1) % #nodes + 1].admin)) end
  return list
end

local function close(connections)
  for _, connection in ipairs(connections) do connection:close() end
end

-- A candidate of the election, through that node: {held, epoch} as it was told last.
local function stand(node)
  local candidate = { name = node.name, connection = assert(client.connect(node.admin)) }
  task.spawn(function()
    candidate.connection:request({ op = "campaign", name = ELECTION }, function(part)
      if part.duty then candidate.held, candidate.epoch = part.duty.held, part.duty.epoch end
    end)
  end)
  return candidate
end

-- All stand, and the victim leads.
local function stand_all(three, victim, operator)
  local candidates = {}
  for i, node in ipairs(three.nodes) do candidates[i] = stand(node) end
  cluster.wait_until("the victim to lead", "20s", function()
    for _, candidate in ipairs(candidates) do
      if candidate.held and candidate.name == victim.name then return true end
    end
    operator:request({ op = "hand_over", name = ELECTION, to = victim.name })
  end)
  return candidates
end

local function ours()
  local three = cluster.new(FOLDER, BIN, { "n1", "n2", "n3" })
  three:start_all()
  for i = 1, SEPTA do
    three:pulse(three.nodes[1], "septum", "create", "bench" .. i, "--hyphae", "1", "--replicas", "2")
  end

  local function pick()
    local all = connect(three.nodes, 3)
    local victim, septum
    cluster.wait_until("a leader with three copies in sync", "60s", function()
      local name = leader_of(all[1])
      septum = name and name ~= "" and septum_of(all, name)
      victim = septum and three:node(name)
      return victim
    end)
    close(all)
    return victim, septum
  end

  local function round()
    local victim, septum = pick()
    local survivors = others(three.nodes, victim)
    local writers, watchers = connect(survivors, WRITERS), connect(survivors, 5)
    local candidates = stand_all(three, victim, watchers[4])
    -- A write under the epoch of whoever leads now.
    local function put_fenced()
      for _, candidate in ipairs(candidates) do
        if candidate.held and candidate.name ~= victim.name then
          local shown = ("%s:%d"):format(ELECTION, candidate.epoch)
          return command(watchers[5], "put", { septum = septum, key = "fenced", value = "v" }, { fence = shown })
        end
      end
    end
    local function is_dead()
      for i = 1, 2 do
        for _, member in ipairs(command(watchers[i], "nodes") or {}) do
          if member.name == victim.name and member.state ~= "dead" then return false end
        end
      end
      return true
    end
    local measured = run_round({
      put = function(i) return command(writers[i], "put", { septum = septum, key = "k" .. i, value = "v" }) end,
      is_dead = is_dead,
      is_led = function()
        local name = leader_of(watchers[3])
        return name and name ~= "" and name ~= victim.name
      end,
      close = function()
        close(writers)
        close(watchers)
        for _, candidate in ipairs(candidates) do candidate.connection:close() end
      end,
      put_fenced = put_fenced,
    }, victim)
    three:start(victim)
    cluster.wait_ready(victim)
    return measured
  end

  return { name = "mycorrizal", round = round, nodes = three.nodes }
end

-- ── etcd's ──

local function theirs(heartbeat, election)
  local three = etcd.new(FOLDER, ETCD, heartbeat, election)
  for _, member in ipairs(three.nodes) do three.start(member) end

  local function round()
    local victim, id
    cluster.wait_until("a leader of etcd", "30s", function()
      victim, id = three.leader()
      return victim
    end)
    local survivors, clients = others(three.nodes, victim), {}
    for i = 1, WRITERS do clients[i] = etcd.client(survivors[i % 2 + 1].port) end
    local measured = run_round({
      put = function(i)
        return clients[i].post("/v3/kv/put", { key = "azE=", value = "dg==" }, ATTEMPT)
      end,
      is_led = function()
        local here = three.status(survivors[1])
        return here and here.leader and here.leader ~= "0" and here.leader ~= id
      end,
      close = function()
        for _, each in ipairs(clients) do each.close() end
      end,
    }, victim)
    three.start(victim)
    return measured
  end

  return { name = ("etcd %d/%d ms"):format(heartbeat, election), round = round, nodes = three.nodes }
end

-- ── Figures ──

local MEASURES <const> = { { "dead", "dead, for all" }, { "led", "another leads" }, { "written", "next write" },
  { "fenced", "fenced write" } }

local function share(sorted, part)
  return sorted[math.max(1, math.ceil(#sorted * part))]
end

local function tell(systems)
  local document = { kills = KILLS, writers = WRITERS }
  print(("%-18s %-15s %8s %8s %8s   ms, %d kills of each"):format("", "", "p50", "p99", "max", KILLS))
  for _, system in ipairs(systems) do
    document[system.name] = {}
    for _, measure in ipairs(MEASURES) do
      local sorted = {}
      for _, one in ipairs(system.measured) do sorted[#sorted + 1] = one[measure[1]] end
      table.sort(sorted)
      if #sorted > 0 then
        local p50, p99, max = share(sorted, 0.5), share(sorted, 0.99), sorted[#sorted]
        print(("%-18s %-15s %8.0f %8.0f %8.0f"):format(system.name, measure[2], p50, p99, max))
        document[system.name][measure[1]] = {
          p50 = math.floor(p50 + 0.5), p99 = math.floor(p99 + 0.5), max = math.floor(max + 0.5),
        }
      end
    end
  end
  print(json.encode(document))
end

local systems <const> = {}
local ok, message, interrupted = cluster.supervise(function()
  systems[1] = ours()
  if ETCD ~= "" then
    systems[2] = theirs(100, 1000)
    systems[3] = theirs(25, 150)
  else
    print("etcd is not installed: scripts/bench/failover --with-etcd fetches it")
  end
  for _, system in ipairs(systems) do system.measured = {} end
  for _ = 1, KILLS do
    for _, system in ipairs(systems) do system.measured[#system.measured + 1] = system.round() end
  end
  tell(systems)
end)
for _, system in ipairs(systems) do
  for _, node in ipairs(system.nodes) do
    if node.process then node.process:kill("sigkill") end
  end
end
if interrupted then return 130 end
if not ok then error(message, 0) end
return 0
