-- Commands about policies: list, show, check, try, apply, rollback.

local discovery <const> = require "mycorrizal.discovery.source"
local declare <const> = require "mycorrizal.declare"
local policies <const> = require "mycorrizal.policies"
local topology <const> = require "mycorrizal.topology"

local JSON <const> = { false, "as JSON" }

-- The policy of each kind that is in force: the newest that was applied, else the default.
local function in_force(all)
  local current = {}
  for _, kind in ipairs(policies.kinds()) do
    if kind.default then
      current[kind.kind] = { kind = kind.kind, name = kind.default, version = 0, author = "default" }
    end
  end
  for _, policy in ipairs(all) do current[policy.kind] = policy end
  return current
end

local function row(policy, is_in_force)
  return {
    kind = policy.kind, name = policy.name, version = policy.version, author = policy.author,
    time_ms = policy.time_ms, in_force = is_in_force,
  }
end

local function list(context)
  local all, message, code = context.node.nodosum:policies()
  if not all then return nil, message, code end
  local current, out = in_force(all), {}
  for _, policy in ipairs(all) do out[#out + 1] = row(policy, current[policy.kind] == policy) end
  for _, kind in ipairs(policies.kinds()) do
    local policy = current[kind.kind]
    if policy and policy.version == 0 and policy.author == "default" then out[#out + 1] = row(policy, true) end
  end
  return { value = out, columns = { "kind", "name", "version", "author", "in_force" } }
end

local function show(context, args)
  local all, message, code = context.node.nodosum:policies()
  if not all then return nil, message, code end
  local policy = in_force(all)[args.kind]
  if not policy then return { missing = ("nothing asks a policy of kind '%s'"):format(args.kind) } end
  policy.source = policy.source or declare.find_policy(policy.kind, policy.name)
  return { value = policy, bytes = policy.source }
end

-- A policy file travels as "NAME\nSOURCE".
local function describe(args)
  local name, source = args.file:match("^([^\n]*)\n(.*)$")
  local about, message, code = policies.describe(name, source)
  if not about then return nil, message, code end
  return { kind = about.kind, name = name, source = source, doc = about.doc }
end

-- One that does I/O is checked where it runs, outside of the sandbox.
local function check_discovery(name, source)
  local policy, message, code = discovery.load(name, source)
  if not policy then return nil, message, code end
  return discovery.run_examples(name, policy)
end

local function check(_, args)
  local policy, message, code = describe(args)
  if not policy then return nil, message, code end
  local ok
  if policy.kind == "discovery" then
    ok, message, code = check_discovery(policy.name, policy.source)
  else
    ok, message, code = policies.check(policy.kind, policy.name, policy.source)
  end
  if not ok then return nil, message, code end
  local text = ("%s/%s: %s\n"):format(policy.kind, policy.name, policy.doc)
  return { value = { kind = policy.kind, name = policy.name, doc = policy.doc }, text = text }
end

local function apply(context, args, flags)
  local policy, message, code = describe(args)
  if not policy then return nil, message, code end
  if policy.kind == "discovery" then
    return nil, "a node looks for others before there is a cluster to agree: name the file in its option join, "
      .. "policy:FILE.lua", "ENOTSUP"
  end
  local version
  version, message, code = context.node.nodosum:apply_policy(
    policy.kind, policy.name, policy.source, { author = flags.author })
  if not version then return nil, message, code end
  local text = ("%s/%s is in force, version %d\n"):format(policy.kind, policy.name, version)
  return { value = { kind = policy.kind, name = policy.name, version = version }, text = text }
end

local function rollback(context, args, flags)
  local version, message, code = context.node.nodosum:rollback_policy(args.kind, { author = flags.author })
  if not version then return nil, message, code end
  return {
    value = { kind = args.kind, version = version },
    text = ("%s is back, version %d\n"):format(args.kind, version),
  }
end

-- ── try: what a placement would change, by this node's view of members and hyphae ──

local function alive_members(context)
  local all, message, code = context.node.nodosum:members()
  if not all then return nil, message, code end
  local members, id_of = {}, {}
  for _, member in ipairs(all) do
    id_of[member.name] = member.id
    if member.state == "alive" then
      members[#members + 1] = { id = member.id, name = member.name, labels = member.labels, weight = 1.0 }
    end
  end
  table.sort(members, function(a, b) return a.id < b.id end)
  return members, id_of
end

-- The holders of each hypha, by septum, as ids, the primary first.
local function present_holders(context, id_of)
  local hyphae, message, code = context.node:inspect("hyphae")
  if not hyphae then return nil, message, code end
  local by_septum = {}
  for _, hypha in ipairs(hyphae) do
    local holders = {}
    if hypha.primary then holders[1] = id_of[hypha.primary] end
    for _, name in ipairs(hypha.in_sync) do
      if name ~= hypha.primary then holders[#holders + 1] = id_of[name] end
    end
    by_septum[hypha.septum] = by_septum[hypha.septum] or {}
    by_septum[hypha.septum][hypha.hypha + 1] = holders
  end
  return by_septum
end

local function same_holders(a, b)
  local set = {}
  for _, id in ipairs(a) do set[id] = true end
  for _, id in ipairs(b) do
    if not set[id] then return false end
  end
  return #a == #b
end

local function compare(name, before, after)
  local change = { septum = name, hyphae = #after, moved = 0, primaries = 0 }
  for h, holders in ipairs(after) do
    if not same_holders(before[h] or {}, holders) then change.moved = change.moved + 1 end
    if (before[h] or {})[1] ~= holders[1] then change.primaries = change.primaries + 1 end
  end
  return change
end

local function try(context, args)
  local policy, message, code = describe(args)
  if not policy then return nil, message, code end
  if policy.kind ~= "placement" and policy.kind ~= "topology" then
    return nil, "only a placement or a topology can be tried", "ENOTSUP"
  end
  local ok
  ok, message, code = policies.check(policy.kind, policy.name, policy.source)
  if not ok then return nil, message, code end
  if policy.kind == "topology" then return topology.try(context, policy) end
  local members, id_of, failed = alive_members(context)
  if not members then return nil, id_of, failed end
  local present, why, which = present_holders(context, id_of)
  if not present then return nil, why, which end
  local changes = {}
  for i, septum in ipairs(context.node.mycel:septa() or {}) do
    local world = {
      septum = septum.name, hyphae = septum.hyphae, copies = septum.replicas + 1, members = members,
      current = present[septum.name],
    }
    local answer
    answer, message, code = policies.ask(policy.kind, policy.name, policy.source, world)
    if not answer then return nil, message, code end
    changes[i] = compare(septum.name, present[septum.name], answer)
  end
  return { value = changes, columns = { "septum", "hyphae", "moved", "primaries" } }
end

local AUTHOR <const> = { "NAME", "who did it, for the record" }

---@type myco.command[]
return {
  {
    name = "policy list", summary = "All policies that were applied.", args = {}, flags = { json = JSON },
    run = list,
  },
  {
    name = "policy show", summary = "The source of the policy of a kind that is in force.",
    args = { { "kind" } }, flags = { json = JSON },
    missing = "nothing asks such a policy", run = show,
  },
  {
    name = "policy check", summary = "Checks a policy file and runs its examples; changes nothing.",
    args = { { "file", file = true } }, flags = { json = JSON }, run = check,
  },
  {
    name = "policy try", summary = "What a placement or topology policy would change if applied now; changes nothing.",
    doc = "moved: hyphae whose set of holders would differ; primaries: those whose primary would. Of a topology:\n"
      .. "each node's place and connections, and what this node would open and close.",
    args = { { "file", file = true } }, flags = { json = JSON }, run = try,
  },
  {
    name = "policy apply", summary = "Applies a policy to the whole cluster, after checking it.",
    args = { { "file", file = true } },
    flags = { json = JSON, author = AUTHOR }, run = apply,
  },
  {
    name = "policy rollback", summary = "Goes back to the policy that was in force before.", args = { { "kind" } },
    flags = { json = JSON, author = AUTHOR }, run = rollback,
  },
}
