-- Commands about policies: list, show, check, try, apply, rollback.

local declare <const> = require "mycorrizal.declare"
local policies <const> = require "mycorrizal.policies"

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

local function check(_, args)
  local policy, message, code = describe(args)
  if not policy then return nil, message, code end
  local ok
  ok, message, code = policies.check(policy.kind, policy.name, policy.source)
  if not ok then return nil, message, code end
  local text = ("%s/%s: %s\n"):format(policy.kind, policy.name, policy.doc)
  return { value = { kind = policy.kind, name = policy.name, doc = policy.doc }, text = text }
end

local function apply(context, args, flags)
  local policy, message, code = describe(args)
  if not policy then return nil, message, code end
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
    name = "policy apply", summary = "Applies a policy to the whole cluster, after checking it.",
    args = { { "file", file = true } },
    flags = { json = JSON, author = AUTHOR }, run = apply,
  },
  {
    name = "policy rollback", summary = "Goes back to the policy that was in force before.", args = { { "kind" } },
    flags = { json = JSON, author = AUTHOR }, run = rollback,
  },
}
