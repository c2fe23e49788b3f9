-- What is seen of a cluster in its object store, a folder: who uploads, how often, and how many manifests.

local cluster <const> = require "cluster"

local M <const> = {}

--- Object names of the store: those with data, and manifests.
local function list(folder)
  local data, manifests = {}, 0
  for path in cluster.run({ "find", folder .. "/store", "-type", "f" }):gmatch("[^\n]+") do
    local node = path:match("/store/d/([^/]+)/")
    if node then data[path] = node end
    if path:match("/store/m/") then manifests = manifests + 1 end
  end
  return data, manifests
end

-- Notes when each node uploaded what is new in the store: a list of times for each.
local function note_uploads(folder, known, uploads, now)
  local data, manifests = list(folder)
  for path, node in pairs(data) do
    if not known[path] then
      uploads[node] = uploads[node] or {}
      table.insert(uploads[node], now())
    end
    known[path] = node
  end
  return manifests
end

-- Watches the store until each of three nodes uploaded so many times. Gives the mean time between two uploads of
-- a node, and objects and manifests per second.
function M.watch(folder, count, now)
  local known, manifests_before = list(folder)
  local began, uploads, manifests = now(), {}, nil
  cluster.wait_until(("%d uploads of each node"):format(count), "20s", function()
    manifests = note_uploads(folder, known, uploads, now)
    local enough = 0
    for _, times in pairs(uploads) do enough = enough + (#times >= count and 1 or 0) end
    return enough == 3
  end)
  local every, objects, seconds = 0, 0, now() - began
  for _, times in pairs(uploads) do
    every = every + (times[#times] - times[1]) / (#times - 1) / 3
    objects = objects + #times
  end
  return {
    every = every, seconds = seconds, objects = objects / seconds, manifests = (manifests - manifests_before) / seconds,
  }
end

return M
