-- The command about discovery: where this node looks for others, and what it found.

local function add_sources(lines, sources)
  for _, source in ipairs(sources) do
    lines[#lines + 1] = ("%s: %s, asked %d times"):format(source.source, source.status, source.runs)
    if source.asked_s then
      lines[#lines + 1] = ("  asked %.1f s ago, again in %.1f s"):format(source.asked_s, source.next_s or 0)
    end
    if #source.found > 0 then lines[#lines + 1] = "  found " .. table.concat(source.found, " ") end
    if source.error then lines[#lines + 1] = ("  error: %s (%d in a row)"):format(source.error, source.failures) end
  end
end

local function add_foreign(lines, foreign)
  for _, other in ipairs(foreign) do
    lines[#lines + 1] = ("another cluster of this name, kept out: id %s, met at %s (%s)"):format(
      other.cluster_id, other.addr, other.name)
  end
end

local function discovery(context)
  local document, message, code = context.node:inspect("discovery")
  if not document then return nil, message, code end
  document.sources = context.node.discovery and context.node.discovery:report() or {}
  local lines = {}
  add_sources(lines, document.sources)
  lines[#lines + 1] = #document.candidates > 0 and "asks " .. table.concat(document.candidates, " ")
    or "asks nobody"
  add_foreign(lines, document.foreign)
  return { value = document, text = table.concat(lines, "\n") .. "\n" }
end

---@type myco.command[]
return {
  {
    name = "discovery", summary = "Where this node looks for others, and what it found.",
    doc = "Each source of the option join; the addresses that are asked; clusters of the same name that were met.",
    args = {}, flags = { json = { false, "as JSON" } }, run = discovery,
  },
}
