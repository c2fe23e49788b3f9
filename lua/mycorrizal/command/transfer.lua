-- pulse transfer: the lead of something goes to a node that the operator names.

local task <const> = require "mycorrizal.task"
local text <const> = require "mycorrizal.text"

local NODOSUM <const> = "nodosum"
local ASK_EVERY <const> = "5ms"
local TIMEOUT <const> = "10s"

local function inspect(client, topic)
  local reply, message, code = client:request({ op = "inspect", topic = topic })
  if not reply then return nil, message, code end
  return reply.document
end

local function election(client, name)
  local list, message, code = inspect(client, "leaders")
  if not list then return nil, message, code end
  for _, found in ipairs(list) do
    if found.subsystem == name then return found end
  end
  return nil, ("there is no election '%s'"):format(name), "ENOTFOUND"
end

-- A client of the node that leads the consensus group: only it can hand over.
local function connect_leader(context)
  local group, message, code = inspect(context.client, "voters")
  if not group then return nil, message, code end
  if not group.leader then return nil, "the consensus group has no leader now", "EUNAVAILABLE" end
  for _, member in ipairs(inspect(context.client, "members") or {}) do
    if member.name == group.leader and (member.state == "alive" or member.self) then
      if member.self then return context.client end
      if (member.admin or "") == "" then break end
      return context.connect(member.admin)
    end
  end
  return nil, ("%s leads the consensus group, and can't be reached: --connect to it"):format(group.leader), "ENOTCONN"
end

local function hand_over_group(context, to)
  local leader, message, code = connect_leader(context)
  if not leader then return nil, message, code end
  local ok
  ok, message, code = leader:request({ op = "transfer", to = to })
  if leader ~= context.client then leader:close() end
  return ok, message, code
end

-- A lower bound of the epoch that `to` will have.
local function begin(context, name, to, limit)
  if name == NODOSUM then return 0, hand_over_group(context, to) end
  local found, message, code = election(context.client, name)
  if not found then return nil, message, code end
  if found.leader == to then return 0, true end
  return found.epoch, context.client:request({ op = "hand_over", name = name, to = to, timeout = limit })
end

-- As the node that was asked sees it.
local function await_holder(context, name, to, before)
  while true do
    local found, message, code = election(context.client, name)
    if not found then return nil, message, code end
    if found.leader == to and found.epoch > before then return found end
    task.sleep(ASK_EVERY)
  end
end

local function transfer(context, args, flags)
  local limit, began_ms = flags.timeout or TIMEOUT, context.now_ms()
  local before, ok, message, code = begin(context, args.name, args.node, limit)
  if not before then return nil, ok, message end
  if not ok then return nil, message, code end
  local found
  found, message, code = task.deadline(limit, await_holder, context, args.name, args.node, before)
  if not found then
    if code ~= "ETIMEDOUT" then return nil, message, code end
    return nil, ("%s does not lead %s within %g s"):format(
      args.node, args.name, text.duration_ms(limit) / 1000), "ETIMEDOUT"
  end
  local took_ms = context.now_ms() - began_ms
  return {
    value = { name = args.name, leader = args.node, epoch = found.epoch, took_ms = took_ms },
    text = ("%s leads %s after %.1f ms, epoch %d\n"):format(args.node, args.name, took_ms, found.epoch),
  }
end

---@type myco.command[]
return {
  {
    name = "transfer", summary = "Hands a lead to a node, and says how long that took and the new epoch.",
    doc = [[
NAME is that of an election, which goes to another of its candidates; or nodosum, the lead of the consensus
group, which goes to a voter. The policy may move an election again when something changes.]],
    args = { { "name" }, { "node" } },
    flags = { json = { false, "as JSON" }, timeout = { "TIME", "how long to wait; default 10s", duration = true } },
    client = transfer,
  },
}
