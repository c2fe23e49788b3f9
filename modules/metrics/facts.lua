-- What is known about a node, gathered for one answer.

local core <const> = require "mycorrizal.core"
local loop <const> = require "mycorrizal.io.loop"
local text <const> = require "mycorrizal.text"

local M <const> = {}

local TOPICS <const> = { "metrics", "status", "leaders", "septa", "hyphae" }

---@class metrics.facts
---@field metrics table[]
---@field status table
---@field leaders table[]
---@field septa table[]
---@field hyphae table[]
---@field resident_bytes integer
---@field lua_bytes integer
---@field server table { count, refused, answered } of the server of these pages

local function gather(node)
  local found = { resident_bytes = loop.memory(), lua_bytes = core.memory() }
  for _, topic in ipairs(TOPICS) do
    local document, message = node:inspect(topic)
    if not document then return nil, message end
    found[topic] = document
  end
  return found
end

--- A function that gathers, at most once in `refresh`: counting keys that expire looks at each of them.
---@param node myco.node
---@param refresh string
---@return fun(server: table): metrics.facts?, string?
function M.collector(node, refresh)
  local refresh_ms = text.duration_ms(refresh)
  local found, gathered_ms
  return function(server)
    local now = loop.now_ms()
    if not found or now - gathered_ms >= refresh_ms then
      local fresh, message = gather(node)
      if not fresh then return nil, message end
      found, gathered_ms = fresh, now
    end
    found.server = server
    return found
  end
end

return M
