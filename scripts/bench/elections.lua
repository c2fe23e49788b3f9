-- Many leaderships on three nodes, each a process of its own that campaigns for a third of them. Run by
-- scripts/bench/elections in the top folder: elections.lua FOLDER BIN COUNT SECONDS HANDOVERS

package.path = "scripts/?.lua;" .. package.path

local client <const> = require "pulse.client"
local cluster <const> = require "cluster"
local json <const> = require "mycorrizal.json"
local loop <const> = require "mycorrizal.io.loop"
local myco <const> = require "mycorrizal"
local task <const> = require "mycorrizal.task"

local LIMIT <const> = 1 -- % of a core
local HAND_OVER_LIMIT <const> = 50 -- ms, at p99
local TICKS_PER_S <const> = 100 -- USER_HZ, fixed on Linux

-- ── A member: elections.lua --member NAME FOLDER JOIN FIRST LAST ──

local function member(name, folder, join, first, last)
  local node = assert(myco.open {
    name = name, data = ("%s/%s.myco"):format(folder, name), expect = 3, join = join ~= "-" and { join } or nil,
  })
  print(json.encode({ listen = node.listen }))
  io.stdout:flush()
  assert(node:ready(30))
  local held = 0
  for i = first, last do
    assert(node.nodosum:campaign(("job-%05d"):format(i), { on_gained = function() held = held + 1 end }))
  end
  while held < last - first + 1 do task.sleep("20ms") end
  print(json.encode({ held = held }))
  io.stdout:flush()
  task.sleep("1h")
end

if arg[1] == "--member" then
  member(arg[2], arg[3], arg[4], math.tointeger(tonumber(arg[5])), math.tointeger(tonumber(arg[6])))
  return 0
end

-- ── The measurement ──

local FOLDER <const>, BIN <const> = arg[1], arg[2]
local COUNT <const>, SECONDS <const> = math.tointeger(tonumber(arg[3])), tonumber(arg[4])
local HANDOVERS <const> = math.tointeger(tonumber(arg[5]))

local function read(path)
  local file <close> = assert(io.open(path))
  return file:read("a")
end

local function cpu_seconds(pid)
  local fields = {}
  for field in read(("/proc/%d/stat"):format(pid)):match("%) (.*)"):gmatch("%S+") do fields[#fields + 1] = field end
  return (fields[12] + fields[13]) / TICKS_PER_S -- utime and stime
end

local function line(process, number, seconds)
  local said = task.deadline(seconds, function()
    while true do
      local at = 0
      for text in process.out:gmatch("([^\n]*)\n") do
        at = at + 1
        if at == number then return json.decode(text) end
      end
      if process.status then return nil end
      task.sleep("10ms")
    end
  end)
  return said or error(("a member said nothing in %d s: %s"):format(seconds, process.out), 0)
end

local members <const> = {}

local function start(i, join)
  local share = COUNT // 3
  local first, last = (i - 1) * share + 1, i == 3 and COUNT or i * share
  members[i] = cluster.spawn({
    BIN .. "/mycorrizal", "lua", "scripts/bench/elections.lua", "--member", "n" .. i, FOLDER, join,
    tostring(first), tostring(last),
  }, { log = ("%s/n%d.log"):format(FOLDER, i) })
  return line(members[i], 1, 20).listen
end

-- ── Hand-overs ── from the request until the other node's candidate was told that it leads

local function stand(node)
  local connection, candidate = assert(client.connect(node.admin)), { name = node.name }
  task.spawn(function()
    connection:request({ op = "campaign", name = "handed" }, function(part)
      if not part.duty then return end
      candidate.held, candidate.epoch, candidate.told_ms = part.duty.held, part.duty.epoch, loop.now_ms()
    end)
  end)
  candidate.connection = connection
  return candidate
end

local function hand_over(operator, to)
  local began_ms = loop.now_ms()
  local ok, message = operator:request({ op = "hand_over", name = "handed", to = to.name })
  if not ok then error(message, 0) end
  while not to.held do task.sleep("1ms") end
  return to.told_ms - began_ms
end

local function share(sorted, part)
  return sorted[math.max(1, math.ceil(#sorted * part))]
end

local function hand_overs()
  local three, candidates, took = cluster.new(FOLDER, BIN, { "h1", "h2", "h3" }), {}, {}
  three:start_all()
  for i, node in ipairs(three.nodes) do candidates[i] = stand(node) end
  local operator, at = assert(client.connect(three.nodes[1].admin)), nil
  cluster.wait_until("a leader", "20s", function()
    for i = 1, 3 do at = candidates[i].held and i or at end
    return at
  end)
  task.sleep(1) -- all stand
  for i = 1, HANDOVERS do
    at = at % 3 + 1
    took[i] = hand_over(operator, candidates[at])
    task.sleep("20ms")
  end
  three:kill_all()
  table.sort(took)
  local figures = { p50 = share(took, 0.5), p99 = share(took, 0.99), max = took[#took], limit = HAND_OVER_LIMIT }
  print(("%d hand-overs  p50 %.1f  p99 %.1f  max %.1f ms"):format(HANDOVERS, figures.p50, figures.p99, figures.max))
  return figures
end

local function measure()
  local handed = HANDOVERS > 0 and hand_overs() or nil
  local began_ms = loop.now_ms()
  local seed = start(1, "-")
  start(2, seed)
  start(3, seed)
  for i = 1, 3 do line(members[i], 2, 300) end
  local elected_ms, cpu, shares, largest = loop.now_ms() - began_ms, {}, {}, 0
  task.sleep(3)
  for i = 1, 3 do cpu[i] = cpu_seconds(members[i].pid) end
  task.sleep(SECONDS)
  for i = 1, 3 do
    local rss = tonumber(read(("/proc/%d/status"):format(members[i].pid)):match("VmRSS:%s+(%d+) kB")) * 1024 / 1e6
    shares[i] = (cpu_seconds(members[i].pid) - cpu[i]) / SECONDS * 100
    largest = math.max(largest, shares[i])
    print(("n%d  %.2f %% of a core  %.1f MB"):format(i, shares[i], rss))
  end
  print(json.encode({ leaderships = COUNT, elected_ms = elected_ms, idle_percent = shares, limit = LIMIT,
    hand_over_ms = handed }))
  return largest <= LIMIT and (not handed or handed.p99 <= HAND_OVER_LIMIT)
end

local ok, reached, interrupted = cluster.supervise(measure)
for _, process in pairs(members) do process:kill("sigkill") end
if interrupted then return 130 end
if not ok then error(reached, 0) end
return reached and 0 or 1
