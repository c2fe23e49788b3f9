-- What a topology policy would make of the connections, by this node's view of the members.

local policies <const> = require "mycorrizal.policies"

local M <const> = {}

local function live_members(context)
  local all, message, code = context.node.nodosum:members()
  if not all then return nil, message, code end
  local members = {}
  for _, member in ipairs(all) do
    if member.state == "alive" or member.state == "suspect" then
      members[#members + 1] = {
        id = member.id, name = member.name, labels = member.labels, role = member.role, self = member.self,
      }
    end
  end
  table.sort(members, function(a, b) return a.id < b.id end)
  return members
end

--- Are the members i and j linked by this answer? The rule is that of the runtime.
local function linked(answer, members, i, j)
  if answer.mesh or (members[i].role == "voter" and members[j].role == "voter") then return true end
  local hubs, standbys = answer.hubs, answer.standbys
  if hubs[i] == j or hubs[j] == i or standbys[i] == j or standbys[j] == i then return true end
  local function is_hub(k) return hubs[k] == k end
  local function stands_by(k) return standbys[hubs[k]] == k end
  return (is_hub(i) and (is_hub(j) or stands_by(j))) or (is_hub(j) and stands_by(i))
end

local function row(answer, members, i)
  local count, hub, standby = 0, nil, nil
  for j = 1, #members do
    if i ~= j and linked(answer, members, i, j) then count = count + 1 end
  end
  if not answer.mesh then
    hub = members[answer.hubs[i]].name
    standby = members[answer.standbys[i]] and members[answer.standbys[i]].name
  end
  local role = answer.mesh and "" or answer.hubs[i] == i and "hub" or "leaf"
  return { node = members[i].name, role = role, hub = hub or "", standby = standby or "", connections = count }
end

--- What this node would open and close.
local function changes(context, answer, members)
  local document <const> = context.node:inspect("topology")
  local me, now, open, close = nil, {}, 0, 0
  for i, member in ipairs(members) do me = member.self and i or me end
  for _, peer in ipairs(document and document.peers or {}) do now[peer.id] = peer.path == "direct" end
  for j, member in ipairs(members) do
    if me and j ~= me then
      local will = linked(answer, members, me, j)
      if will and not now[member.id] then open = open + 1 end
      if not will and now[member.id] then close = close + 1 end
    end
  end
  return me, open, close
end

--- One row for each node; this node's says what it would open and close, too.
function M.try(context, policy)
  local members, message, code = live_members(context)
  if not members then return nil, message, code end
  local world = { members = {} }
  for i, member in ipairs(members) do
    world.members[i] = { id = member.id, name = member.name, labels = member.labels }
  end
  local answer
  answer, message, code = policies.ask(policy.kind, policy.name, policy.source, world)
  if not answer then return nil, message, code end
  local rows = {}
  for i in ipairs(members) do rows[i] = row(answer, members, i) end
  local me, open, close = changes(context, answer, members)
  if me then rows[me].opens, rows[me].closes = open, close end
  return { value = rows, columns = { "node", "role", "hub", "standby", "connections", "opens", "closes" } }
end

return M
