-- The demonstration: three nodes on this machine do what Mycorrizal is for, from finding each other to
-- coming back from nothing but the object store. Run by scripts/demo:
--
--     mycorrizal lua scripts/demo.lua FOLDER BIN [--keep]
--
-- in the top folder. FOLDER is empty and ours; BIN holds the programs. Each step raises when what it shows
-- does not hold.

package.path = "scripts/?.lua;" .. package.path

local cluster <const> = require "cluster"
local json <const> = require "mycorrizal.json"
local loop <const> = require "mycorrizal.io.loop"
local store <const> = require "demo_store"
local task <const> = require "mycorrizal.task"
local writes <const> = require "demo_writes"

local FOLDER <const>, BIN <const>, KEEP <const> = arg[1], arg[2], arg[3] == "--keep"
local ISO_639_3 <const> = "/usr/share/iso-codes/json/iso_639-3.json"
local POLICY <const> = "scripts/examples/persistence-1s.lua"
local SUBSYSTEMS <const> = { "nodosum", "mycel", "cytoplasm" }

local started_ms <const> = loop.now_ms()

local function now()
  return (loop.now_ms() - started_ms) / 1000
end

local function say(text, ...)
  print(("[%6.3f s] %s"):format(now(), text:format(...)))
end

local function expect(holds, text, ...)
  if not holds then error(text:format(...), 2) end
end

-- ── What several steps need ──

--- 1.5 of an epoch: the cluster's incarnation, and a counter that never goes back.
local function epoch_text(epoch)
  return ("%d.%d"):format(epoch >> 48, epoch & 0xffffffffffff)
end

--- The leaders by subsystem: {leader, epoch} each.
local function leaders(demo, node)
  local by_name = {}
  for _, leader in ipairs(demo.cluster:ask(node, "leaders")) do
    if leader.leader and leader.leader ~= "" then by_name[leader.subsystem] = leader end
  end
  return by_name
end

local function wait_leaders(demo)
  return cluster.wait_until("all leaders", "10s", function()
    local led = leaders(demo, demo.cluster.nodes[1])
    return led.nodosum and led.mycel and led.cytoplasm and led
  end)
end

--- The shards of all septa, as their primaries know them.
local function hyphae(demo)
  local list = {}
  for _, node in ipairs(demo.cluster.nodes) do
    for _, hypha in ipairs(demo.cluster:ask(node, "hyphae")) do
      if hypha.primary_here then list[#list + 1] = hypha end
    end
  end
  return list
end

--- Count and checksum of a septum, asked through a node: SHA-256 over all keys and values, sorted.
local function fingerprint(demo, node, septum)
  local command = ('"$@" scan %s --limit 10000000 | LC_ALL=C sort | sha256sum'):format(septum)
  local pulse = demo.cluster:pulse_argv(node)
  local sum = cluster.run({ "bash", "-o", "pipefail", "-c", command, "scan", table.unpack(pulse) })
  return { count = demo.cluster:ask(node, "count", septum), sum = sum:match("^%x+") }
end

-- ── 1 ──

local function find_each_other(demo)
  demo.cluster = cluster.new(FOLDER, BIN, { "n1", "n2", "n3" })
  demo.cluster:start_all()
  for _, node in ipairs(demo.cluster.nodes) do
    say("   %s is ready: peers at %s, pulse at %s, pid %d", node.name, node.listen, node.admin, node.process.pid)
  end
  for _, member in ipairs(demo.cluster:ask(demo.cluster.nodes[1], "nodes")) do
    expect(member.state == "alive", "%s is %s", member.name, member.state)
  end
  local led, holders, distinct = wait_leaders(demo), {}, 0
  for _, name in ipairs(SUBSYSTEMS) do
    local leader = led[name]
    say("   %-9s is led by %s, epoch %d (%s)", name, leader.leader, leader.epoch, epoch_text(leader.epoch))
    if not holders[leader.leader] then distinct = distinct + 1 end
    holders[leader.leader] = true
  end
  expect(distinct > 1, "one node leads everything")
end

-- ── 2 ──

--- The entries of ISO 639-3 as lines {"key": "deu", "value": {…}}; how many.
local function languages_as_lines(path)
  local source <close> = assert(io.open(ISO_639_3, "rb"))
  local document = assert(json.decode(source:read("a")))
  local lines <close> = assert(io.open(path, "wb"))
  for _, entry in ipairs(document["639-3"]) do
    lines:write(json.encode({ key = entry.alpha_3, value = entry }), "\n")
  end
  return #document["639-3"]
end

local function say_keys_of_nodes(demo)
  for _, node in ipairs(demo.cluster.nodes) do
    local led, led_keys, backed, backed_keys = 0, 0, 0, 0
    for _, hypha in ipairs(demo.cluster:ask(node, "hyphae")) do
      if hypha.primary_here then
        led, led_keys = led + 1, led_keys + hypha.keys
      elseif hypha.keys then
        backed, backed_keys = backed + 1, backed_keys + hypha.keys
      end
    end
    say("   %s holds %d keys in %d hyphae as primary, and copies of %d keys in %d", node.name, led_keys, led,
      backed_keys, backed)
  end
end

local function load_languages(demo)
  local first, second, third = table.unpack(demo.cluster.nodes)
  local lines = FOLDER .. "/languages.jsonl"
  local entries = languages_as_lines(lines)
  demo.cluster:pulse(first, "septum", "create", "languages", "--kind", "durable", "--replicas", "1")
  local before_ms = loop.now_ms()
  demo.cluster:pulse(first, "load", "languages", lines)
  local took_ms = loop.now_ms() - before_ms
  say("   %d entries of ISO 639-3 stored through %s in %.0f ms, each on two disks", entries, first.name, took_ms)
  local count = demo.cluster:ask(second, "count", "languages")
  say("   %s counts %d", second.name, count)
  expect(count == entries, "%d entries were stored, and %d are counted", entries, count)
  for _, code in ipairs({ "deu", "epo", "wol" }) do
    local entry = demo.cluster:ask(third, "get", "languages", code)
    say("   %s: languages[%s] is %s", third.name, code, entry.name)
    expect(entry.alpha_3 == code, "%s has another code", code)
  end
  say_keys_of_nodes(demo)
end

-- ── 3 ──

local MESSAGES <const> = 2000 -- of each publisher, half of them wanted

-- Of one publisher messages come in order, so that its "end" says that all before it have come.
local PUBLISH <const> = [[
  for i = 1, %d do
    local subject = ("orders.%%d.%%s"):format(i, i %% 2 == 0 and "created" or "cancelled")
    while not cytoplasm:publish(subject, ("%s/%%d"):format(i)) do task.sleep("1ms") end
  end
  assert(cytoplasm:publish("orders.end.created", "end"))]]

local function lines_of(text)
  local lines = {}
  for line in text:gmatch("[^\n]+") do lines[#lines + 1] = line end
  return lines
end

local function publish_and_subscribe(demo)
  local subscriber, one, other = table.unpack(demo.cluster.nodes)
  local listening = cluster.spawn(demo.cluster:pulse_argv(subscriber, "sub", "orders.*.created", "--timeout", "30s"))
  demo.listening = listening
  while not listening.err:find("subscribed", 1, true) and not listening.status do listening:wait_event() end
  say("   a subscriber on %s wants orders.*.created", subscriber.name)
  local publishers = {}
  for i, node in ipairs({ one, other }) do
    publishers[i] = task.spawn(function() demo.cluster:pulse(node, "-e", PUBLISH:format(MESSAGES, node.name)) end)
  end
  for _, publisher in ipairs(publishers) do publisher:join() end
  local got
  while not listening.status do
    local _, ends = listening.out:gsub("end\n", "")
    if ends == 2 then break end
    listening:wait_event()
  end
  got = lines_of(listening.out)
  listening:kill("sigterm")
  local seen, received = {}, 0
  for _, line in ipairs(got) do
    expect(line == "end" or not seen[line], "message %s came twice", line)
    seen[line], received = true, received + (line == "end" and 0 or 1)
  end
  say("   %s and %s published %d messages each, half of them orders.*.created", one.name, other.name, MESSAGES)
  say("   sent %d, received %d", MESSAGES, received)
  expect(received == MESSAGES, "%d messages were sent, and %d received", MESSAGES, received)
end

-- ── 4 ──

local WRITERS <const> = 8

local function read_back(demo, node, stream)
  local found = {}
  for _, line in ipairs(lines_of(demo.cluster:pulse(node, "scan", "ledger", stream.name, "--limit", "10000000"))) do
    local key, value = line:match("^([^\t]*)\t(.*)$")
    found[key] = value
  end
  local read = 0
  for key, value in pairs(stream.acknowledged) do
    expect(found[key] == value, "the acknowledged write of %s is gone", key)
    read = read + 1
  end
  return read
end

local function wait_copies(demo)
  cluster.wait_until("two copies of each hypha", "15s", function()
    local list = hyphae(demo)
    for _, hypha in ipairs(list) do
      if #hypha.in_sync < 2 or not hypha.serving then return false end
    end
    return #list == 128
  end)
end

local function survive_the_leader(demo)
  demo.cluster:pulse(demo.cluster.nodes[1], "septum", "create", "ledger", "--kind", "durable", "--replicas", "1")
  local before = wait_leaders(demo).mycel
  local victim = demo.cluster:node(before.leader)
  local survivor = demo.cluster:others(victim)
  local stream <const> = writes.start("w", survivor.admin, WRITERS, nil, now)
  writes.wait(stream, 100)
  say("   %d writers store through %s; %s leads mycel, epoch %d (%s)", WRITERS, survivor.name, victim.name,
    before.epoch, epoch_text(before.epoch))
  local killed_at = now()
  stream.gap_ms = 0
  victim.process:kill("sigkill")
  victim.process:wait_end()
  say("   %s got SIGKILL after %d acknowledged writes", victim.name, stream.count)
  local after = cluster.wait_until("a new leader of mycel", "10s", function()
    local leader = leaders(demo, survivor).mycel
    return leader and leader.leader ~= victim.name and leader
  end)
  say("   %s leads mycel, epoch %d (%s)", after.leader, after.epoch, epoch_text(after.epoch))
  expect(after.epoch > before.epoch, "the epoch did not rise")
  writes.wait(stream, 100)
  writes.finish(stream)
  demo.gap_ms = math.ceil(stream.gap_ms)
  say("   longest gap between two acknowledged writes of a writer: %d ms, over %.3f s after the kill",
    demo.gap_ms, stream.gap_at - killed_at)
  local read = read_back(demo, survivor, stream)
  say("   %d writes acknowledged, %d read back; %d of unknown outcome were made again", stream.count, read,
    stream.unknown)
  expect(read == stream.count, "%d writes were acknowledged, and %d read back", stream.count, read)
  expect(demo.gap_ms < 2000, "nobody could write for %d ms", demo.gap_ms)
  demo.cluster:start(victim)
  cluster.wait_ready(victim)
  wait_copies(demo)
  say("   %s was started again, is back, and each hypha has two copies in sync", victim.name)
end

-- ── 5 ──

local function say_store(when, seen)
  say("   %s: each node uploads every %.1f s; %.1f data objects and %.1f manifests per second, seen for %.1f s",
    when, seen.every, seen.objects, seen.manifests, seen.seconds)
end

local function change_policy(demo)
  local node = demo.cluster.nodes[1]
  local trickle <const> = writes.start("t", node.admin, 4, "5ms", now)
  local before = store.watch(FOLDER, 2, now)
  say_store("before", before)
  local said = demo.cluster:pulse(node, "policy", "apply", POLICY, "--author", "demo")
  say("   pulse policy apply %s: %s", POLICY, said:gsub("\n$", ""))
  local after = store.watch(FOLDER, 3, now)
  say_store("after ", after)
  writes.finish(trickle)
  expect(before.every > 4, "uploads were %.1f s apart, not 5", before.every)
  expect(after.every < 2.5, "uploads are %.1f s apart, not 1", after.every) -- a manifest in flight costs a second
end

-- ── 6 ──

local function wait_persisted(demo)
  cluster.wait_until("everything in the store", "10s", function()
    local list = hyphae(demo)
    for _, hypha in ipairs(list) do
      if hypha.persisted < hypha.offset then return false end
    end
    return #list == 128
  end)
end

local function restore(demo)
  wait_persisted(demo)
  local node, before = demo.cluster.nodes[1], {}
  for _, septum in ipairs({ "languages", "ledger" }) do before[septum] = fingerprint(demo, node, septum) end
  demo.cluster:kill_all()
  for _, each in ipairs(demo.cluster.nodes) do cluster.run({ "rm", "-rf", each.data }) end
  say("   every hypha is in the store; all nodes got SIGKILL, and their data folders are deleted")
  local began_ms = loop.now_ms()
  demo.cluster = cluster.new(FOLDER, BIN, { "n4", "n5", "n6" })
  demo.cluster:start_all()
  say("   n4, n5 and n6 are ready, with empty data folders and the same store")
  for _, septum in ipairs({ "languages", "ledger" }) do
    local was, is = before[septum], fingerprint(demo, demo.cluster.nodes[2], septum)
    say("   %-9s before: %d keys, SHA-256 %s…", septum, was.count, was.sum:sub(1, 16))
    say("   %-9s after:  %d keys, SHA-256 %s…", septum, is.count, is.sum:sub(1, 16))
    expect(is.count == was.count and is.sum == was.sum, "%s came back different", septum)
  end
  say("   back %.1f s after the first of them was started", (loop.now_ms() - began_ms) / 1000)
  local led = wait_leaders(demo)
  say("   mycel is led by %s, epoch %d (%s): a new incarnation", led.mycel.leader, led.mycel.epoch,
    epoch_text(led.mycel.epoch))
end

-- ── The demonstration ──

local STEPS <const> = {
  { "three nodes find each other and elect leaders", find_each_other },
  { "real data goes in through one node and comes out of another", load_languages },
  { "a subscriber gets what other nodes publish, by wildcard", publish_and_subscribe },
  { "the leader of mycel is killed while writes go on", survive_the_leader },
  { "the persistence policy is changed while the cluster runs: from 5 s to 1 s", change_policy },
  { "all nodes are lost with their disks, and the cluster comes back from the object store", restore },
}

local function show_logs(demo)
  for _, node in ipairs(demo.cluster and demo.cluster.nodes or {}) do
    local log = io.open(node.log, "rb")
    local lines = log and lines_of(log:read("a")) or {}
    if log then log:close() end
    io.stderr:write(("── the last lines of %s ──\n"):format(node.log))
    for i = math.max(1, #lines - 24), #lines do io.stderr:write(lines[i], "\n") end
  end
end

local function run_steps(demo)
  for number, step in ipairs(STEPS) do
    demo.step = ("step %d (%s)"):format(number, step[1])
    say("%d. %s", number, step[1])
    step[2](demo)
  end
end

local function keep(demo)
  local pids = {}
  for i, node in ipairs(demo.cluster.nodes) do pids[i] = node.process.pid end
  print("The cluster runs on. To talk to it, and to end it:")
  print(("  %s/pulse --connect %s"):format(BIN, demo.cluster.nodes[1].admin))
  print(("  kill %s; rm -r %s"):format(table.concat(pids, " "), FOLDER))
end

local function main()
  local demo = {}
  local good, message, interrupted = cluster.supervise(run_steps, demo)
  if demo.listening then demo.listening:kill("sigkill") end
  if not good and not interrupted then
    io.stderr:write(("demo: %s failed: %s\n"):format(demo.step, tostring(message)))
    show_logs(demo)
  end
  if good and KEEP then
    keep(demo)
  elseif demo.cluster then
    demo.cluster:kill_all()
  end
  if not good then return interrupted and 130 or 1 end
  print(("failover_gap_ms: %d"):format(demo.gap_ms))
  print("demo: ok")
  return 0
end

return main()
