-- Prometheus' text format, version 0.0.4:
--
--     # HELP mycorrizal_septum_keys Keys that …
--     # TYPE mycorrizal_septum_keys gauge
--     mycorrizal_septum_keys{septum="carts",role="primary"} 7913
--
-- A family is {name, kind, help, samples}, a sample {value, label, label value, …}.

local M <const> = {}

M.CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

-- ── Writing ──

-- Names may hold any bytes where a host chose them; the format is UTF-8.
local function readable(value)
  if utf8.len(value) then return value end
  return (value:gsub("[\128-\255]", function(char) return ("\\x%02x"):format(char:byte()) end))
end

local ESCAPES <const> = { ["\\"] = "\\\\", ["\n"] = "\\n", ['"'] = '\\"' }

local function label_value(value)
  return (readable(value):gsub('[\\\n"]', ESCAPES))
end

local function number(value)
  if math.type(value) ~= "integer" then
    local short = ("%.15g"):format(value)
    return tonumber(short) == value and short or ("%.17g"):format(value)
  end
  return value >= 0 and ("%d"):format(value) or ("%.17g"):format(value + 2.0 ^ 64) -- unsigned in C
end

local function write_sample(out, name, sample)
  local labels = {}
  for i = 2, #sample, 2 do labels[#labels + 1] = ('%s="%s"'):format(sample[i], label_value(sample[i + 1])) end
  out[#out + 1] = ("%s%s %s"):format(
    name, #labels > 0 and "{" .. table.concat(labels, ",") .. "}" or "", number(sample[1]))
end

local function write_family(out, name, kind, help, samples)
  if #samples == 0 then return end
  out[#out + 1] = ("# HELP %s %s"):format(name, (readable(help):gsub("[\\\n]", ESCAPES)))
  out[#out + 1] = ("# TYPE %s %s"):format(name, kind)
  for _, sample in ipairs(samples) do write_sample(out, name, sample) end
end

-- ── Families ──

local function bit(value)
  return value and 1 or 0
end

local function write_node(out, facts)
  local status = facts.status
  write_family(out, "mycorrizal_info", "gauge", "Always 1; who this is.", {
    { 1, "name", status.name, "cluster", status.cluster, "id", status.id, "version", status.version } })
  write_family(out, "mycorrizal_ready", "gauge", "Whether this node serves in a cluster.", { { bit(status.ready) } })
  write_family(out, "mycorrizal_leader_known", "gauge", "Whether consensus has a leader, as this node knows.",
    { { bit(status.leader) } })
  write_family(out, "mycorrizal_lease_valid", "gauge", "Whether this node's lease runs.", { { bit(status.lease) } })
  write_family(out, "mycorrizal_uptime_seconds", "gauge", "Since the node was opened.",
    { { status.uptime_ms / 1000 } })
  write_family(out, "mycorrizal_lua_memory_bytes", "gauge", "Held by the node's Lua state.", { { facts.lua_bytes } })
  write_family(out, "process_resident_memory_bytes", "gauge", "Memory that the process holds.",
    { { facts.resident_bytes } })
end

local function write_leaderships(out, leaders)
  local held, epochs, count = {}, {}, 0
  for i, leader in ipairs(leaders) do
    held[i] = { bit(leader.held_here), "subsystem", leader.subsystem }
    epochs[i] = { leader.epoch, "subsystem", leader.subsystem }
    count = count + bit(leader.held_here)
  end
  write_family(out, "mycorrizal_leaderships", "gauge", "Elections that this node holds.", { { count } })
  write_family(out, "mycorrizal_leadership_held", "gauge", "Whether this node leads, by subsystem.", held)
  write_family(out, "mycorrizal_leadership_epoch", "gauge", "Epoch of the last election, by subsystem.", epochs)
end

local function new_tally()
  local function roles() return { primary = 0, backup = 0 } end
  return { keys = roles(), hyphae = roles(), short = 0, without = 0, behind = 0 }
end

local function add_hypha(tally, hypha, copies, durable)
  if not hypha.primary then tally.without = tally.without + 1 end
  if #hypha.in_sync < copies then tally.short = tally.short + 1 end
  if not hypha.keys then return end -- no copy here
  local role = hypha.primary_here and "primary" or "backup"
  tally.hyphae[role] = tally.hyphae[role] + 1
  tally.keys[role] = tally.keys[role] + hypha.keys
  if durable and hypha.primary_here then tally.behind = tally.behind + math.max(0, hypha.offset - hypha.persisted) end
end

local function tally_septa(facts)
  local tallies, by_name = {}, {}
  for i, septum in ipairs(facts.septa) do
    tallies[i] = new_tally()
    tallies[i].septum, by_name[septum.name] = septum, tallies[i]
  end
  for _, hypha in ipairs(facts.hyphae) do
    local tally = by_name[hypha.septum]
    if tally then add_hypha(tally, hypha, tally.septum.replicas + 1, tally.septum.kind == "durable") end
  end
  return tallies
end

local function by_role(tallies, field)
  local samples = {}
  for _, tally in ipairs(tallies) do
    for _, role in ipairs { "primary", "backup" } do
      samples[#samples + 1] = { tally[field][role], "septum", tally.septum.name, "role", role }
    end
  end
  return samples
end

local function by_septum(tallies, field, kind)
  local samples = {}
  for _, tally in ipairs(tallies) do
    if not kind or tally.septum.kind == kind then
      samples[#samples + 1] = { tally[field], "septum", tally.septum.name }
    end
  end
  return samples
end

local function write_septa(out, facts)
  local tallies = tally_septa(facts)
  write_family(out, "mycorrizal_septum_keys", "gauge", "Keys in this node's hyphae, by septum and role.",
    by_role(tallies, "keys"))
  write_family(out, "mycorrizal_septum_hyphae", "gauge", "Hyphae of which this node has a copy, by septum and role.",
    by_role(tallies, "hyphae"))
  write_family(out, "mycorrizal_septum_hyphae_without_primary", "gauge",
    "Hyphae that nobody serves, in the whole cluster.", by_septum(tallies, "without"))
  write_family(out, "mycorrizal_septum_hyphae_under_replicated", "gauge",
    "Hyphae with fewer copies in sync than the septum wants, in the whole cluster.", by_septum(tallies, "short"))
  write_family(out, "mycorrizal_septum_unpersisted_records", "gauge",
    "Records of this node's primaries that the object store does not have yet.",
    by_septum(tallies, "behind", "durable"))
end

local function write_server(out, server)
  local responses, statuses = {}, {}
  for status in pairs(server.answered) do statuses[#statuses + 1] = status end
  table.sort(statuses)
  for i, status in ipairs(statuses) do responses[i] = { server.answered[status], "code", tostring(status) } end
  write_family(out, "mycorrizal_metrics_connections", "gauge", "Connections to the metrics module.",
    { { server.count } })
  write_family(out, "mycorrizal_metrics_connections_refused_total", "counter",
    "Connections to the metrics module that were one too many.", { { server.refused } })
  write_family(out, "mycorrizal_metrics_responses_total", "counter", "Responses of the metrics module, by status.",
    responses)
end

--- The text of everything that is known.
---@param facts metrics.facts
---@return string
function M.text(facts)
  local out = {}
  for _, metric in ipairs(facts.metrics) do
    write_family(out, metric.name, metric.kind, metric.help, { { metric.value } })
  end
  write_node(out, facts)
  write_leaderships(out, facts.leaders)
  write_septa(out, facts)
  write_server(out, facts.server)
  return table.concat(out, "\n") .. "\n"
end

return M
