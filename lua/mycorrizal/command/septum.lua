-- Commands about septa: list and create.

local JSON <const> = { false, "as JSON" }

local function list(context)
  local septa, message, code = context.node.mycel:septa()
  if not septa then return nil, message, code end
  return { value = septa, columns = { "name", "kind", "hyphae", "replicas", "ttl_ms", "level" } }
end

local function create(context, args, flags)
  local septum, message, code = context.node.mycel:septum(args.name, {
    kind = flags.kind or "durable", replicas = flags.replicas, ttl = flags.ttl,
    hyphae = flags.hyphae, level = flags.level,
  })
  if not septum then return nil, message, code end
  return { value = { name = args.name }, text = "" }
end

---@type myco.command[]
return {
  { name = "septa", summary = "The septa (buckets) of the cluster.", args = {}, flags = { json = JSON }, run = list },
  {
    name = "septum create",
    summary = "Creates a septum; one that is there already, of the same kind, is left as it is.",
    args = { { "name" } },
    flags = {
      json = JSON,
      kind = { "cache|durable", "default: durable" },
      replicas = { "N", "copies besides the primary", integer = true },
      ttl = { "TIME", "how long values live: 30s, 10m, 30d; default: for ever", duration = true },
      hyphae = { "N", "shards", integer = true },
      level = { "LEVEL", "what an acknowledgement means: memory, replicated, disk or object" },
    },
    run = create,
  },
}
