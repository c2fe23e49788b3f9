-- The command about connections.

local function show(context)
  local document, message, code = context.node:inspect("topology")
  if not document then return nil, message, code end
  local rows = document.peers
  table.sort(rows, function(a, b) return a.name < b.name end)
  return { value = rows, columns = { "name", "role", "hub", "path", "via" } }
end

---@type myco.command[]
return {
  {
    name = "topology", summary = "Which nodes this node is linked with, and over which hub it reaches the others.",
    doc = "path: direct, by a connection; hubs, passed on by VIA; none, not reached. The counters are metrics.",
    args = {}, flags = { json = { false, "as JSON" } }, run = show,
  },
}
