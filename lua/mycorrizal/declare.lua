-- Carries out what a configuration declares, once the node is ready: septa are created, policies
-- applied, modules started. Every node does it; what is there already is left as it is.

local core <const> = require "mycorrizal.core"
local policies <const> = require "mycorrizal.policies"
local task <const> = require "mycorrizal.task"

local M <const> = {}

local ATTEMPTS_MAX <const> = 30

-- What can't be done now may be possible soon: a leader is being elected.
local PASSING <const> = {
  ETIMEDOUT = true, EUNAVAILABLE = true, ENOTLEADER = true, EUNKNOWN = true, EBUSY = true, EFULL = true,
  EVERSION = true, -- a new cluster switches its features on within a second
}

local function insist(what, fn, ...)
  local message, code
  for _ = 1, ATTEMPTS_MAX do
    local done
    done, message, code = fn(...)
    if done then return true end
    if not PASSING[code] then break end
    task.sleep(1)
  end
  core.report(("configuration: %s: %s (%s)"):format(what, tostring(message), tostring(code)))
  return false
end

local function read_file(path)
  local file, message = io.open(path, "rb")
  if not file then return nil, message, "ENOTFOUND" end
  local source = file:read("a")
  file:close()
  return source
end

--- The source of a policy that is named: a file, or one of those that come with mycorrizal.
---@param kind string
---@param name string
---@return string? source
---@return string? message, or the policy's name
---@return string? code
function M.find_policy(kind, name)
  local path = name:find("/", 1, true) and name or package.searchpath(
    "mycorrizal.policy." .. kind .. "." .. name, package.path)
  if not path then return nil, ("there is no policy %s/%s"):format(kind, name), "ENOTFOUND" end
  local source, message, code = read_file(path)
  if not source then return nil, message, code end
  return source, (path:match("([^/]+)%.lua$") or name)
end

local function in_force(node, kind)
  local found
  for _, policy in ipairs(node.nodosum:policies() or {}) do
    if policy.kind == kind then found = policy end
  end
  return found
end

local function apply_policy(node, kind, name)
  local source, found, code = M.find_policy(kind, name)
  if not source then return nil, found, code end
  local present = in_force(node, kind)
  if present and present.source == source then return true end
  local ok, message, failed = policies.check(kind, found, source)
  if not ok then return nil, message, failed end
  return node.nodosum:apply_policy(kind, found, source)
end

local function sorted(declared)
  local names = {}
  for name in pairs(declared or {}) do names[#names + 1] = name end
  table.sort(names)
  return names
end

--- Reads declarations: Lua source that returns {septa, policies, modules}, or nothing. Raises.
---@param source string?
---@return table
function M.read(source)
  local chunk, message = load(source or "", "=configuration", "t", { table = { insert = table.insert } })
  if not chunk then error(message, 0) end
  return chunk() or {}
end

--- Carries out declarations of septa and policies. In a task.
---@param node myco.node
---@param declared table
function M.carry_out(node, declared)
  for _, name in ipairs(sorted(declared.septa)) do
    insist("septum " .. name, node.mycel.septum, node.mycel, name, declared.septa[name])
  end
  for _, kind in ipairs(sorted(declared.policies)) do
    insist("policy " .. kind, apply_policy, node, kind, declared.policies[kind])
  end
end

return M
