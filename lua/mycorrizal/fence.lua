-- Fences: the epoch that is shown with an operation, so that who lost a leadership or a lock is
-- refused where it matters.

local M <const> = {}

---@class myco.fence
---@field name string of an election, "lock/NAME" of a lock, or a name of your own
---@field epoch integer rises with every new holder

--- Name and epoch of options.fence: a duty, an election, a lock, { name =, epoch = }, or "NAME:EPOCH".
---@param options table?
---@return string? name
---@return integer? epoch
function M.of(options)
  local fence = options and options.fence
  if fence == nil then return nil end
  if type(fence) == "string" then
    local name, epoch = fence:match("^(.+):(%d+)$")
    if not math.tointeger(epoch) then error(("fence: '%s' is not NAME:EPOCH"):format(fence), 3) end
    return name, math.tointeger(epoch)
  end
  if type(fence.duty) == "table" then fence = fence.duty end
  local name, epoch = fence.fence or fence.name, fence.epoch
  if type(name) ~= "string" or math.type(epoch) ~= "integer" then
    error("fence: a duty, a lock, { name =, epoch = }, or \"NAME:EPOCH\"", 3)
  end
  return name, epoch
end

return M
