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

--- The addresses of this machine's interfaces that are not its loopback, IPv4 first.
---@return string[]
function M.own_addresses()
  local found = { inet = {}, inet6 = {} }
  for _, addresses in pairs(uv.interface_addresses()) do
    for _, item in ipairs(addresses) do
      local usable = not item.internal and not item.ip:lower():match("^fe80")
      if usable and found[item.family] then table.insert(found[item.family], item.ip) end
    end
  end
  table.sort(found.inet)
  table.sort(found.inet6)
  table.move(found.inet6, 1, #found.inet6, #found.inet + 1, found.inet)
  return found.inet
end

--- Whether there is such a file or folder.
---@param path string
---@return boolean
function M.exists(path)
  return uv.fs_stat(path) ~= nil
end

local function names_in(folder)
  local names, entries = {}, uv.fs_scandir(folder)
  while entries do
    local name = uv.fs_scandir_next(entries)
    if not name then break end
    names[#names + 1] = name
  end
  return names
end

--- The folders in `folder` that hold `file`, and those one level deeper, as "above.below".
---@param folder string
---@param file string
---@return string[] names
function M.folders_with(folder, file)
  local found = {}
  for _, name in ipairs(names_in(folder)) do
    local path = folder .. "/" .. name
    if M.exists(path .. "/" .. file) then found[#found + 1] = name end
    for _, below in ipairs(names_in(path)) do
      if M.exists(("%s/%s/%s"):format(path, below, file)) then found[#found + 1] = name .. "." .. below end
    end
  end
  return found
end

return M
