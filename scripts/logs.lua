-- What nodes write in their logs, as it comes: which member is in which state, and when.

local uv <const> = require "luv"

local M <const> = {}

--- Milliseconds of today, UTC, of the clock that logs have.
---@return number
function M.now_ms()
  local seconds, micros = uv.gettimeofday()
  return seconds % 86400 * 1000 + micros / 1000
end

---@class log_change
---@field at_ms number of today, see now_ms
---@field name string of the member
---@field state string

--- Reads the log of a node from where it was read to before, and gives each change of a member to `fn`.
---@param node { log: string, log_at: integer? }
---@param fn fun(change: log_change)
function M.changes(node, fn)
  local file <close> = assert(io.open(node.log, "rb"))
  file:seek("set", node.log_at or 0)
  local text = file:read("a")
  local whole = text:match("^(.*\n)") or ""
  node.log_at = (node.log_at or 0) + #whole
  for line in whole:gmatch("[^\n]+") do
    local h, m, s, name, state =
      line:match("T(%d+):(%d+):([%d.]+)Z .*gossip: member changed name=(%S+) .*state=(%a+)")
    if h then fn({ at_ms = (h * 60 + m) * 60000 + s * 1000, name = name, state = state }) end
  end
end

return M
