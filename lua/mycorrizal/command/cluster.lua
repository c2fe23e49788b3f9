-- Commands about the cluster: nodes, hyphae, status, metrics.

local JSON <const> = { false, "as JSON" }

local function rows(value, columns)
  return { value = value, columns = columns }
end

local function inspect(topic, columns)
  return function(context)
    local document, message, code = context.node:inspect(topic)
    if not document then return nil, message, code end
    return rows(document, columns)
  end
end

-- One line a lock: its holders with their epochs.
local function locks(context)
  local list, message, code = context.node.nodosum:locks()
  if not list then return nil, message, code end
  for _, lock in ipairs(list) do
    lock.epochs = {}
    for i, holder in ipairs(lock.holders) do
      lock.holders[i], lock.epochs[i] = holder.node, holder.epoch
    end
  end
  return rows(list, { "kind", "name", "permits", "holders", "epochs", "waiters" })
end

local function status(context)
  local document, message, code = context.node:inspect("status")
  if not document then return nil, message, code end
  return { value = document, fields = true }
end

-- Prometheus' text format.
local function metrics(context)
  local list, message, code = context.node:inspect("metrics")
  if not list then return nil, message, code end
  local lines = {}
  for _, metric in ipairs(list) do
    lines[#lines + 1] = ("# HELP %s %s"):format(metric.name, metric.help)
    lines[#lines + 1] = ("# TYPE %s %s"):format(metric.name, metric.kind)
    lines[#lines + 1] = ("%s %s"):format(metric.name, tostring(metric.value))
  end
  return { value = list, text = table.concat(lines, "\n") .. "\n" }
end

local function remove(context, args, flags)
  local done, message, code = context.node.nodosum:remove(args.member, { force = flags.force })
  if not done then return nil, message, code end
  return { value = { removed = args.member }, text = "" }
end

---@type myco.command[]
return {
  {
    name = "nodes", summary = "The members of the cluster, as this node knows them.",
    args = {}, flags = { json = JSON },
    run = inspect("members", { "name", "addr", "state", "role", "id" }),
  },
  {
    name = "locks", summary = "The locks and barriers in use: who holds them, in which epoch, and who waits.",
    args = {}, flags = { json = JSON }, run = locks,
  },
  {
    name = "hyphae", summary = "The shards of all septa and who holds them.", args = {}, flags = { json = JSON },
    run = inspect("hyphae", { "septum", "hypha", "primary", "epoch", "in_sync", "joining", "keys" }),
  },
  {
    name = "features", summary = "What this version can do, and whether the whole cluster does it yet.",
    doc = "A feature is active once every member has it: the nodes under LACKING are of an older version.",
    args = {}, flags = { json = JSON }, run = inspect("features", { "feature", "active", "lacking", "doc" }),
  },
  {
    name = "remove", summary = "Removes a member for ever: with its old data folder it is refused.",
    doc = "MEMBER is a name or an id. Stop the node first, so that it hands over what it holds. The last 1,024 removed "
      .. "ids are known.",
    args = { { "member" } }, run = remove,
    flags = { json = JSON, force = { false, "even while it runs: what only it holds is lost" } },
  },
  { name = "status", summary = "How this node does.", args = {}, flags = { json = JSON }, run = status },
  {
    name = "metrics", summary = "The node's metrics, in Prometheus' format.",
    args = {}, flags = { json = JSON }, run = metrics,
  },
}
