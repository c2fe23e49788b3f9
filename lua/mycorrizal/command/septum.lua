-- Commands about septa: list, show, create and alter.

local JSON <const> = { false, "as JSON" }

local function list(context)
  local septa, message, code = context.node.mycel:septa()
  if not septa then return nil, message, code end
  return { value = septa, columns = { "name", "kind", "hyphae", "replicas", "ttl_ms", "level" } }
end

-- ── One ──

-- How many of its hyphae each node is primary of: "n1 22, n2 21, n3 21".
local function where(hyphae, name)
  local counts, names, words = {}, {}, {}
  for _, hypha in ipairs(hyphae) do
    if hypha.septum == name then
      local primary = hypha.primary or "nobody"
      if not counts[primary] then names[#names + 1] = primary end
      counts[primary] = (counts[primary] or 0) + 1
    end
  end
  table.sort(names)
  for i, node in ipairs(names) do words[i] = ("%s %d"):format(node, counts[node]) end
  return table.concat(words, ", "), counts
end

local USE <const> = { "entries", "bytes", "hits", "misses", "evictions", "expirations", "refused" }

local function use(here)
  local words = {}
  for i, name in ipairs(USE) do words[i] = ("%s %d"):format(name, here[name]) end
  return "primaries on this node: " .. table.concat(words, ", ")
end

local function find(septa, name)
  for _, septum in ipairs(septa) do
    if septum.name == name then return septum end
  end
end

local function show(context, args)
  local septa, message, code = context.node.mycel:septa()
  if not septa then return nil, message, code end
  local septum = find(septa, args.name)
  if not septum then return { missing = ("there is no septum %s"):format(args.name) } end
  local hyphae
  hyphae, message, code = context.node:inspect("hyphae")
  if not hyphae then return nil, message, code end
  local line, counts = where(hyphae, args.name)
  local rows = {}
  for i, option in ipairs(septum.options) do
    rows[i] = {
      option = option.option, value = option.value, default = option.default,
      changes = option.fixed == "" and "yes" or "no: " .. option.fixed,
    }
  end
  septum.primaries = counts
  return {
    value = septum, rows = rows, columns = { "option", "value", "default", "changes" },
    head = ("%s, %d hyphae, primaries on %s\n%s"):format(septum.kind, septum.hyphae, line, use(septum.here)),
  }
end

-- ── Made, and changed ──

-- Flags whose values go as they are into the options of that name.
local FLAGS <const> = {
  kind = { "cache|durable", "default: durable" },
  replicas = { "N", "copies besides the primary", integer = true },
  ttl = { "TIME", "how long values live: 30s, 10m, 30d; default: for ever", duration = true },
  hyphae = { "N", "shards", integer = true },
  level = { "LEVEL", "what an acknowledgement means: memory, replicated, disk or object" },
  idle = { "TIME", "what nobody reads or writes for so long expires; default: never", duration = true },
  size = { "BYTES", "of all entries together: 64MiB, 2GiB; default: no limit" },
  entries = { "N", "of all together; default: no limit", integer = true },
  ["value-size"] = { "BYTES", "of one value; default: what the nodes allow" },
  eviction = { "RULE", "what a full cache does: lfu, lru or none (refuse); default: lfu" },
}

local function create(context, args, flags)
  local options = { kind = "durable" }
  for name in pairs(FLAGS) do
    if flags[name] ~= nil then options[(name:gsub("-", "_"))] = flags[name] end
  end
  local septum, message, code = context.node.mycel:septum(args.name, options)
  if not septum then return nil, message, code end
  return { value = { name = args.name }, text = "" }
end

local function alter(context, args)
  local version, message, code = context.node.mycel:alter(args.name, table.concat(args.options, " "))
  if not version then return nil, message, code end
  return { value = { name = args.name, version = version }, text = "" }
end

local function with_json(flags)
  local all = { json = JSON }
  for name, flag in pairs(flags) do all[name] = flag end
  return all
end

---@type myco.command[]
return {
  { name = "septa", summary = "The septa (buckets) of the cluster.", args = {}, flags = { json = JSON }, run = list },
  {
    name = "septum",
    summary = "A septum: its options with their defaults, and which nodes are primaries of its hyphae.",
    args = { { "name" } }, flags = { json = JSON }, missing = "no such septum", run = show,
  },
  {
    name = "septum create",
    summary = "Creates a septum; one that is there already, of the same kind, is left as it is.",
    args = { { "name" } }, flags = with_json(FLAGS), run = create,
  },
  {
    name = "septum alter",
    summary = "Changes options of a septum: pulse septum alter carts ttl=1d size=2GiB.",
    doc = "pulse septum NAME shows all options, and why some can't change.",
    args = { { "name" }, { "options", rest = true } }, flags = { json = JSON }, run = alter,
  },
}
