-- How soon a death is known, by the logs of those who live. Run by scripts/bench/detection in the top folder:
-- detection.lua FOLDER BIN ROUNDS

package.path = "scripts/?.lua;" .. package.path

local cluster <const> = require "cluster"
local json <const> = require "mycorrizal.json"
local logs <const> = require "logs"
local task <const> = require "mycorrizal.task"

local FOLDER <const>, BIN <const>, ROUNDS <const> = arg[1], arg[2], tonumber(arg[3])
local GOALS_MS <const> = { killed = 300, stopped = 1500 }
local WAIT <const> = "30s"

local three <const> = cluster.new(FOLDER, BIN, { "n1", "n2", "n3" })

--- Waits until each of the others wrote that `victim` is `state`; the latest time of it.
local function all_say(victim, state)
  local found, last_ms = {}, 0
  cluster.wait_until(("all to hold %s %s"):format(victim.name, state), WAIT, function()
    for _, other in ipairs({ three:others(victim) }) do
      logs.changes(other, function(change)
        if change.name ~= victim.name or change.state ~= state then return end
        found[other.name] = true
        last_ms = math.max(last_ms, change.at_ms)
      end)
      if not found[other.name] then return false end
    end
    return true
  end)
  return last_ms
end

--- What was written until now is old.
local function skip()
  for _, node in ipairs(three.nodes) do logs.changes(node, function() end) end
end

local function settle(victim)
  cluster.wait_until(victim.name .. " to be well again", WAIT, function()
    for _, node in ipairs(three.nodes) do
      for _, member in ipairs(three:ask(node, "members")) do
        if member.state ~= "alive" then return false end
      end
    end
    return true
  end)
  task.sleep(0.3 + math.random() * 0.4)
end

local function kill(victim)
  local from_ms = logs.now_ms()
  victim.process:kill("sigkill")
  local took_ms = all_say(victim, "dead") - from_ms
  victim.process:wait_end()
  three:start(victim)
  cluster.wait_ready(victim)
  return took_ms
end

local function stop(victim)
  local from_ms = logs.now_ms()
  victim.process:kill("sigstop")
  local took_ms = all_say(victim, "dead") - from_ms
  victim.process:kill("sigcont")
  all_say(victim, "alive")
  return took_ms
end

local function figures(name, times)
  table.sort(times)
  local function quantile(q) return times[math.max(1, math.ceil(#times * q))] end
  local out = { rounds = #times, p50_ms = quantile(0.5), p90_ms = quantile(0.9), p99_ms = quantile(0.99),
    max_ms = times[#times], goal_ms = GOALS_MS[name] }
  for key, value in pairs(out) do out[key] = math.floor(value + 0.5) end
  print(("%-8s %6d  %7d  %7d  %7d  %7d  %7d"):format(
    name, out.rounds, out.p50_ms, out.p90_ms, out.p99_ms, out.max_ms, out.goal_ms))
  return out
end

local ok, result, interrupted = cluster.supervise(function()
  local times = { killed = {}, stopped = {} }
  three:start_all()
  settle(three.nodes[1])
  for round = 1, ROUNDS do
    for name, act in pairs({ killed = kill, stopped = stop }) do
      local victim = three.nodes[round % 3 + 1]
      skip()
      table.insert(times[name], act(victim))
      settle(victim)
    end
  end
  return times
end)
three:kill_all()
if interrupted then return 130 end
if not ok then error(result, 0) end
print("         rounds   p50 ms   p90 ms   p99 ms   max ms  goal ms")
local out <const> = { killed = figures("killed", result.killed), stopped = figures("stopped", result.stopped) }
print(json.encode(out))
return out.killed.p99_ms <= GOALS_MS.killed and out.stopped.p99_ms <= GOALS_MS.stopped and 0 or 1
