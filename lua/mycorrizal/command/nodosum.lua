-- Commands about who is there and who decides: members, leaders, voters.

local text <const> = require "mycorrizal.text"

local JSON <const> = { false, "as JSON" }

local function ago(since_ms)
  if not since_ms or since_ms == 0 then return nil end
  return text.show_duration(math.max(0, os.time() * 1000 - since_ms))
end

-- ── Members ──

local function by_id(list)
  local found = {}
  for _, item in ipairs(list) do found[item.id] = item end
  return found
end

local function members(context)
  local list, message, code = context.node:inspect("members")
  if not list then return nil, message, code end
  local holdings = by_id(context.node:inspect("holdings") or {})
  local voters = context.node:inspect("voters")
  local servers = by_id(voters and voters.servers or {})
  for _, member in ipairs(list) do
    local holding, server = holdings[member.id] or {}, servers[member.id] or {}
    member.since, member.lag = ago(member.since_ms), server.lag
    member.leads, member.primaries, member.copies = holding.leads, holding.primaries, holding.copies
    if member.admin == "" then member.admin = nil end
    if member.version == "" then member.version = nil end
    if not next(member.labels) then member.labels = nil end
  end
  table.sort(list, function(a, b) return a.name < b.name or (a.name == b.name and a.id < b.id) end)
  return {
    value = list,
    columns = {
      "name", "state", "since", "role", "leads", "primaries", "copies", "lag", "generation", "version", "addr",
      "admin", "labels", "id",
    },
  }
end

-- ── Leaders ──

local function leaders(context)
  local list, message, code = context.node.nodosum:leaders()
  if not list then return nil, message, code end
  for _, leader in ipairs(list) do
    leader.name, leader.since = nil, ago(leader.since_ms)
    if leader.reason == "" then leader.reason = nil end
  end
  return { value = list, columns = { "subsystem", "leader", "epoch", "since", "standing", "reason" } }
end

-- ── Voters: the leader knows how far each of them is ──

local function inspect(client, topic)
  local reply, message, code = client:request({ op = "inspect", topic = topic })
  if not reply then return nil, message, code end
  return reply.document
end

-- What the leader says, when it can be reached; nil when not.
local function ask_leader(context, document)
  for _, member in ipairs(inspect(context.client, "members") or {}) do
    if member.name == document.leader and not member.self and (member.admin or "") ~= "" then
      local client = context.connect(member.admin)
      local said = client and inspect(client, "voters")
      if client then client:close() end
      return said and said.leader == document.leader and said or nil
    end
  end
end

local function voters(context)
  local document, message, code = inspect(context.client, "voters")
  if not document then return nil, message, code end
  local own = document
  document = document.leader and ask_leader(context, document) or document
  for _, server in ipairs(document.servers) do
    server.leader = server.name == document.leader
    server.contact = server.contact_ms and text.show_duration(server.contact_ms) .. " ago"
  end
  table.sort(document.servers, function(a, b)
    if a.role ~= b.role then return a.role > b.role end
    return a.name < b.name
  end)
  local head = ("%s, term %d, commit %d, applied %d, last %d"):format(
    document.leader and "leader " .. document.leader or "no leader",
    document.term, document.commit_index, own.applied_index, document.last_index)
  return {
    value = document, head = head, rows = document.servers,
    columns = { "name", "role", "leader", "match", "lag", "contact", "id" },
  }
end

---@type myco.command[]
return {
  {
    name = "members", summary = "The members with all that is known of them: state, role, what they hold.",
    doc = "SINCE is when this node heard of STATE; LAG, in entries of the log, is known to the leader of the\n"
      .. "consensus group; ADMIN is where pulse reaches the member.",
    args = {}, flags = { json = JSON }, run = members,
  },
  {
    name = "leaders", summary = "The elections: who holds them, in which epoch, since when and why, who stands.",
    doc = "SINCE and REASON are known for what changed since this node joined.",
    args = {}, flags = { json = JSON }, run = leaders,
  },
  {
    name = "voters", summary = "The consensus group: its leader, term and indices, and how far each member is.",
    doc = "MATCH, LAG and CONTACT are the leader's word, which is asked when it can be reached; else of this node.",
    args = {}, flags = { json = JSON }, client = voters,
  },
}
