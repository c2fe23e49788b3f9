-- Looking into folders.

local uv <const> = require "luv"

local M <const> = {}

--- The sockets of nodes below a folder: FOLDER/*.myco/pulse.sock.
---@param folder string
---@return string[] paths
function M.node_sockets(folder)
  local found = {}
  local entries = uv.fs_scandir(folder)
  while entries do
    local name = uv.fs_scandir_next(entries)
    if not name then break end
    local path = ("%s/%s/pulse.sock"):format(folder, name)
    local stat = name:match("%.myco$") and uv.fs_stat(path)
    if stat and stat.type == "socket" then found[#found + 1] = path end
  end
  table.sort(found)
  return found
end

return M
