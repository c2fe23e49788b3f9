-- Three nodes that have nothing to do: what each of them holds in memory, and how long it was on a processor. Run by
-- scripts/bench/idle in the top folder: idle.lua FOLDER BIN SECONDS

package.path = "scripts/?.lua;" .. package.path

local cluster <const> = require "cluster"
local loop <const> = require "mycorrizal.io.loop"
local task <const> = require "mycorrizal.task"

local FOLDER <const>, BIN <const>, SECONDS <const> = arg[1], arg[2], tonumber(arg[3])
local LIMIT_MB <const> = 10
local TICKS_PER_S <const> = 100 -- USER_HZ, fixed on Linux

local function read(path)
  local file <close> = assert(io.open(path))
  return file:read("a")
end

--- Megabytes (10^6) of the fields of a file of /proc, which are in KiB.
local function megabytes(text, ...)
  local sum = 0
  for _, field in ipairs({ ... }) do sum = sum + tonumber(text:match(field .. ":%s+(%d+) kB")) end
  return sum * 1024 / 1e6
end

local function cpu_seconds(pid)
  local fields = {}
  for field in read(("/proc/%d/stat"):format(pid)):match("%) (.*)"):gmatch("%S+") do fields[#fields + 1] = field end
  return (fields[12] + fields[13]) / TICKS_PER_S -- utime and stime
end

local function measure(nodes)
  local began_ms, cpu, largest = loop.now_ms(), {}, 0
  for i, node in ipairs(nodes) do cpu[i] = cpu_seconds(node.process.pid) end
  task.sleep(SECONDS)
  local seconds = (loop.now_ms() - began_ms) / 1000
  print("node   VmRSS MB  private MB  % of a core")
  for i, node in ipairs(nodes) do
    local pid = node.process.pid
    local rss = megabytes(read(("/proc/%d/status"):format(pid)), "VmRSS")
    local private = megabytes(read(("/proc/%d/smaps_rollup"):format(pid)), "Private_Clean", "Private_Dirty")
    local share = (cpu_seconds(pid) - cpu[i]) / seconds * 100
    print(("%-6s %8.2f  %10.2f  %11.2f"):format(node.name, rss, private, share))
    largest = math.max(largest, rss)
  end
  return largest
end

local three <const> = cluster.new(FOLDER, BIN, { "n1", "n2", "n3" })
local ok, largest, interrupted = cluster.supervise(function()
  three:start_all()
  task.sleep(1) -- elections and greetings are no idling
  return measure(three.nodes)
end)
three:kill_all()
if interrupted then return 130 end
if not ok then error(largest, 0) end
print(("idle_rss_mb: %.2f (limit: %d)"):format(largest, LIMIT_MB))
return largest < LIMIT_MB and 0 or 1
