-- Fences: the epoch that is shown with an operation, so that who lost a leadership or a lock is
-- refused where it matters.

local M <const> = {}

---@class myco.fence
---@field name string of an election, "lock/NAME" of a lock, or a name of your own
---@field epoch integer rises with every new holder

--- The fence that "NAME:EPOCH" says, as people type it.
---@param word string
---@return { name: string, epoch: integer }?
---@return string? message
---@return string? code
function M.parse(word)
  local name, epoch = word:match("^(.+):(%d+)$")
  epoch = math.tointeger(tonumber(epoch))
  if not name or not epoch or epoch == 0 then
    return nil, ("fence: '%s' is not NAME:EPOCH, with an epoch above 0"):format(word), "EINVAL"
  end
  return { name = name, epoch = epoch }
end

--- Name and epoch of options.fence: a duty, an election, a lock, { name =, epoch = }, or "NAME:EPOCH".
---@param options table?
---@return string? name
---@return integer? epoch
function M.of(options)
  local fence = options and options.fence
  if fence == nil then return nil end
  if type(fence) == "string" then
    local parsed, message = M.parse(fence)
    if not parsed then error(message, 3) end
    fence = parsed
  end
  if type(fence.duty) == "table" then fence = fence.duty end
  local name, epoch = fence.fence or fence.name, fence.epoch
  if type(name) ~= "string" or math.type(epoch) ~= "integer" then
    error("fence: a duty, a lock, { name =, epoch = }, or \"NAME:EPOCH\"", 3)
  end
  return name, epoch
end

return M
