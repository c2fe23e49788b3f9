-- Commands about the keys that seal gossip: what the ring is, and its change.

local task <const> = require "mycorrizal.task"

local JSON <const> = { false, "as JSON" }
local WAIT <const> = "5s"

local function list(context)
  local keys, message, code = context.node.nodosum:keys()
  if not keys then return nil, message, code end
  return { value = keys, columns = { "id", "seals", "version" } }
end

local function version(nodosum)
  local keys, message, code = nodosum:keys()
  if not keys then return nil, message, code end
  return keys[1] and keys[1].version or 0
end

--- Begins the change, and waits until the log brought it to this node.
local function change(verb)
  return function(context, args)
    local nodosum = context.node.nodosum
    local before, message, code = version(nodosum)
    if not before then return nil, message, code end
    local ok
    ok, message, code = nodosum:keys_change(verb, args.key)
    if not ok then return nil, message, code end
    ok, message, code = task.deadline(WAIT, function()
      while version(nodosum) == before do task.sleep("10ms") end
      return true
    end)
    if not ok then return nil, message, code end
    return list(context)
  end
end

local function command(verb, summary, doc)
  return {
    name = "keys " .. verb, summary = summary, doc = doc, args = { { "key" } }, flags = { json = JSON },
    run = change(verb),
  }
end

---@type myco.command[]
return {
  {
    name = "keys list", summary = "The ring of keys that seal gossip; the first one seals, all open.",
    doc = "Shows fingerprints: keys are never shown. A change goes in three steps, each once the one before is "
      .. "everywhere:\nkeys install, keys use, keys remove.",
    args = {}, flags = { json = JSON }, run = list,
  },
  command("install", "Adds a key of `mycorrizal keygen` to the ring of all nodes.",
    "KEY is a secret: it is seen in the list of processes while this runs."),
  command("use", "Seals with a key of the ring from now on, on all nodes.", "KEY is an id of keys list."),
  command("remove", "Takes a key out of the ring of all nodes.", "KEY is an id of keys list; not the one that seals."),
}
