-- pulse events: what happened to the cluster as one node, or each of its nodes, saw it.

local task <const> = require "mycorrizal.task"
local text <const> = require "mycorrizal.text"

-- As in runtime/host/core_chronicle.h (a spec compares).
local KINDS <const> = {
  "member.joined", "member.suspected", "member.refuted", "member.dead", "member.left",
  "election.gained", "election.moved", "election.lost", "leader.changed",
  "voter.added", "voter.changed", "voter.removed", "quorum.lost", "quorum.regained",
  "snapshot.taken", "snapshot.installed", "lease.lost", "lease.regained",
  "node.slow", "node.recovered", "hyphae.moved", "hyphae.loss_accepted", "septum.created",
  "policy.applied", "policy.rolled_back", "feature.activated", "store.away", "store.back", "keys.rotated",
}

local TOGETHER <const> = "200ms" -- what nodes say within it is put in order
local AGAIN <const> = "1s"       -- a node that went away is asked again
local LOOK <const> = "2s"        -- for members that came

-- ── Which events ──

local function read_kinds(list)
  local wanted = {}
  for word in list:gmatch("[^,%s]+") do
    local known = false
    for _, kind in ipairs(KINDS) do
      if kind == word or kind:match("^[^.]+") == word then
        wanted[kind], known = true, true
      end
    end
    if not known then
      return nil, ("there is no kind of event '%s': %s"):format(word, table.concat(KINDS, ", ")), "EINVAL"
    end
  end
  return wanted
end

local function is_wanted(watch, event)
  return (not watch.kinds or watch.kinds[event.kind]) and event.time_ms >= watch.since_ms
end

-- ── Showing them ──

local function line_of(watch, event)
  local seconds = event.time_ms // 1000
  local time = ("%s.%03d"):format(os.date("%Y-%m-%d %H:%M:%S", seconds), event.time_ms % 1000)
  local node = watch.all and ("%-10s  "):format(event.node) or ""
  return ("%s  %s%-18s  %s"):format(time, node, event.kind, event.text)
end

local function before(a, b)
  if a.time_ms ~= b.time_ms then return a.time_ms < b.time_ms end
  if a.node ~= b.node then return a.node < b.node end
  return a.sequence < b.sequence
end

local function show_all(watch)
  local events = watch.events
  watch.events = {}
  table.sort(events, before)
  for _, event in ipairs(events) do
    watch.context.show(event, line_of(watch, event))
  end
end

-- ── Asking one node ──

local function take(watch, node, part)
  for _, event in ipairs(part.events or {}) do
    node.next = event.sequence + 1
    event.node = node.name
    if is_wanted(watch, event) then watch.events[#watch.events + 1] = event end
  end
  if part.all then node.caught_up = true end
  if watch.live and not watch.all then show_all(watch) end
end

-- Another process may listen at the address by now. One that started again counts from 1.
local function connect(watch, node)
  if node.client then return true end
  local client, message, code = watch.context.connect(node.address)
  if not client then return nil, message, code end
  local hello
  hello, message, code = client:request({ op = "hello" })
  if hello and node.id and hello.node ~= node.id then
    hello, message, code = nil, ("%s answers there"):format(hello.name), "ENOTFOUND"
  end
  if not hello then
    client:close()
    return nil, message, code
  end
  if node.generation ~= hello.generation then node.next = 0 end
  node.client, node.id, node.name, node.generation = client, hello.node, hello.name, hello.generation
  return true
end

local function ask(watch, node, follow)
  local ok, message, code = connect(watch, node)
  if not ok then return nil, message, code end
  ok, message, code = node.client:request(
    { op = "events", from = node.next, follow = follow }, function(part) take(watch, node, part) end)
  if ok then return true end
  node.client:close()
  node.client = nil
  return nil, message, code
end

-- ── All nodes ──

local function members_of(client)
  local reply, message, code = client:request({ op = "inspect", topic = "members" })
  if not reply then return nil, message, code end
  return reply.document
end

local function add_member(watch, member)
  local live = member.state == "alive" or member.state == "suspect"
  local node = watch.by_id[member.id]
  if not live or (node and node.address == member.admin) then return nil end
  if node then
    node.address = member.admin
    return nil
  end
  node = { id = member.id, name = member.name, address = member.admin, next = 0 }
  watch.by_id[member.id] = node
  watch.nodes[#watch.nodes + 1] = node
  return node
end

local function first_node(watch)
  local client = watch.context.client
  local hello, message, code = client:request({ op = "hello" })
  if not hello then return nil, message, code end
  local node = {
    id = hello.node, name = hello.name, generation = hello.generation, client = client, next = 0,
    address = client.address,
  }
  watch.nodes[1], watch.by_id[hello.node] = node, node
  if not watch.all then return true end
  local members
  members, message, code = members_of(client)
  if not members then return nil, message, code end
  for _, member in ipairs(members) do
    if member.id ~= hello.node then add_member(watch, member) end
  end
  return true
end

local function complain(watch, node, message)
  if not node.away then watch.context.note(("%s: %s"):format(node.name, message)) end
  node.away = true
end

-- ── What there is, and what is to come ──

local function history(watch)
  local missing = {}
  for _, node in ipairs(watch.nodes) do
    local ok, message, code
    if node.address == "" then
      message, code = "it can't be asked: it runs without pulse", "ENOTSUP"
    else
      ok, message, code = ask(watch, node, false)
    end
    if not ok and not watch.all then return nil, message, code end
    if not ok then
      complain(watch, node, message)
      missing[#missing + 1] = node.name
    end
  end
  show_all(watch)
  return missing
end

local function follow_node(watch, node)
  while true do
    local _, message = ask(watch, node, true)
    complain(watch, node, message .. "; it is asked again")
    task.sleep(AGAIN)
    if connect(watch, node) then
      node.away = false
      watch.context.note(("%s answers again"):format(node.name))
    end
  end
end

-- From whoever answers: a member that came, or that has another address since it started again.
local function look_for_members(watch)
  while true do
    task.sleep(LOOK)
    for _, node in ipairs(watch.nodes) do
      local members = node.client and members_of(node.client)
      for _, member in ipairs(members or {}) do
        local new = add_member(watch, member)
        if new and new.address ~= "" then task.spawn(follow_node, watch, new) end
      end
      if members then break end
    end
  end
end

local function follow(watch)
  watch.live = true
  for _, node in ipairs(watch.nodes) do
    if node.address ~= "" then task.spawn(follow_node, watch, node) end
  end
  if watch.all then task.spawn(look_for_members, watch) end
  while true do
    task.sleep(TOGETHER)
    show_all(watch)
  end
end

local function events(context, _, flags)
  local watch = {
    context = context, all = flags.all, nodes = {}, by_id = {}, events = {}, since_ms = 0,
  }
  local message, code
  if flags.kind then
    watch.kinds, message, code = read_kinds(flags.kind)
    if not watch.kinds then return nil, message, code end
  end
  if flags.since then watch.since_ms = os.time() * 1000 - text.duration_ms(flags.since) end
  local ok
  ok, message, code = first_node(watch)
  if not ok then return nil, message, code end
  local missing
  missing, message, code = history(watch)
  if not missing then return nil, message, code end
  if flags.follow then follow(watch) end
  return { items = true, missing = #missing > 0 and "without the events of " .. table.concat(missing, ", ") or nil }
end

---@type myco.command[]
return {
  {
    name = "events", summary = "What happened to the cluster, as the node saw it: a line each.",
    doc = [[
A node keeps its last 4,096 events in memory (option events-max), from its start on. KIND is one of
]] .. "  " .. table.concat(KINDS, " ", 1, 5) .. "\n  " .. table.concat(KINDS, " ", 6, 9) .. "\n  "
      .. table.concat(KINDS, " ", 10, 14) .. "\n  " .. table.concat(KINDS, " ", 15, 20) .. "\n  "
      .. table.concat(KINDS, " ", 21) .. "\nor the word before the dot. Ctrl-C ends --follow.",
    args = {}, missing = "not all nodes could be asked",
    flags = {
      json = { false, "as JSON, a line each, with the name of the node" },
      follow = { false, "goes on with what happens, also while a node is away" },
      kind = { "KIND,…", "only of these kinds" },
      since = { "TIME", "only of the last 10m, 2h, …", duration = true },
      all = { false, "of all nodes, in the order of time" },
    },
    client = events, kinds = KINDS,
  },
}
