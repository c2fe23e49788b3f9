-- The cluster's object store as a meeting place: each node keeps one small object there.
--
--     discovery/HASH OF THE CLUSTER'S NAME/NODE ID    {"address": "10.0.0.1:7946", "name": "n1", "every_ms": 30000}
--
-- Ages are differences of the store's own times, so that no two clocks are compared: each node
-- writes its own object first, and what is much older than that was left by a node that is gone.

-- The newest of all is not newer than this node's own, or only by what happened since.
local function now_of(entries, own_key)
  for _, entry in ipairs(entries) do
    if entry.key == own_key then return entry.modified_ms end
  end
end

local READ_MAX <const> = 64

-- What an object says, as {address, id}; nil when it is none, or gone meanwhile.
local function read(kit, key)
  local bytes = kit.store.get(key)
  local said = bytes and kit.json.decode(bytes)
  if type(said) ~= "table" or type(said.address) ~= "string" then return nil end
  return { address = said.address, id = key:match("([^/]+)$"), every_ms = tonumber(said.every_ms) or 0 }
end

local function key_of(world)
  return world.own.cluster .. "/" .. world.own.id
end

local function newest_first(a, b)
  if a.modified_ms ~= b.modified_ms then return a.modified_ms > b.modified_ms end
  return a.key < b.key
end

-- Whether an object was left behind: a slower node's is given its own time.
local function is_stale(entry, said, now_ms, world, options)
  return now_ms - entry.modified_ms > options.stale * math.max(world.every_ms, said.every_ms)
end

return {
  kind = "discovery",
  doc = "An object for each node below discovery/ of the node's own object store; those left behind are removed.",
  options = {
    stale = { type = "integer", default = 5, doc = "times `every` after which an object was left behind" },
  },

  discover = function(world, options)
    local kit, own_key = world.kit, key_of(world)
    local own = { address = world.own.address, name = world.own.name, every_ms = world.every_ms }
    local ok, message, code = kit.store.put(own_key, kit.json.encode(own))
    if not ok then return nil, message, code end
    local entries
    entries, message, code = kit.store.list(world.own.cluster .. "/")
    if not entries then return nil, message, code end
    local now_ms, found = now_of(entries, own_key) or 0, {}
    table.sort(entries, newest_first)
    for i = 1, math.min(#entries, READ_MAX) do
      local entry = entries[i]
      local said = entry.key ~= own_key and read(kit, entry.key)
      if said and is_stale(entry, said, now_ms, world, options) then
        kit.store.del(entry.key)
      elseif said then
        found[#found + 1] = said
      end
    end
    return found
  end,

  leave = function(world)
    world.kit.store.del(key_of(world))
  end,

  examples = {
    {
      given = {
        every_ms = 30000, own = { id = "0a", cluster = "c0", name = "n1", address = "10.0.0.1:7946" },
        answers = {
          ['store.put c0/0a {"address":"10.0.0.1:7946","every_ms":30000,"name":"n1"}'] = true,
          ["store.list c0/"] = {
            { key = "c0/0a", modified_ms = 1000000 }, { key = "c0/0b", modified_ms = 990000 },
            { key = "c0/0c", modified_ms = 1000 },
          },
          ["store.get c0/0b"] = '{"address":"10.0.0.2:7946","every_ms":30000}',
          ["store.get c0/0c"] = '{"address":"10.0.0.3:7946","every_ms":30000}',
        },
      },
      expect = function(found) return #found == 1 and found[1].address == "10.0.0.2:7946" and found[1].id == "0b" end,
    },
  },
}
