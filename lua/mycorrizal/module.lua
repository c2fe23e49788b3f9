-- A module: a folder with an init.lua that describes itself.
--
--     find the folder -> load init.lua, which sees mycorrizal.* and its own files
--                     -> check what it returns -> check the options that it is given
--
-- The fence around a module's globals is against accidents, not against malice.

local core <const> = require "mycorrizal.core"
local files <const> = require "mycorrizal.io.files"

local _, FILE <const> = ... -- this file, as require found it

local M <const> = {}

---@class myco.module what modules/NAME/init.lua returns
---@field name string
---@field doc string
---@field options table<string, { type: "string"|"number"|"integer"|"boolean", default: any, doc: string }>?
---@field start fun(node: myco.node, options: table): table?, string?, string? a handle with stop()

-- ── Finding ──

-- Beside the Lua layer where it is installed; in the source tree, beside lua/.
local function roots()
  local layer = FILE:match("^(.*)/mycorrizal/module%.lua$") or "."
  return { layer .. "/modules", layer .. "/../modules" }
end

--- The names of the modules that come with mycorrizal.
---@return string[]
function M.available()
  local names = {}
  for _, root in ipairs(roots()) do
    for _, name in ipairs(files.folders_with(root, "init.lua")) do names[#names + 1] = name end
  end
  table.sort(names)
  return names
end

-- "metrics" and "connectors.http" are looked up; what has a slash in it is a folder.
local function find(word)
  if word:find("/", 1, true) then
    local folder = word:gsub("/+$", "")
    return files.exists(folder .. "/init.lua") and folder, (folder:match("([^/]+)$"))
  end
  for _, root in ipairs(roots()) do
    local folder = root .. "/" .. word:gsub("%.", "/")
    if word:match("^[%w_-]+[%w_.-]*$") and files.exists(folder .. "/init.lua") then return folder, word end
  end
  return nil
end

-- ── What a module sees ──

local GLOBALS <const> = {
  "assert", "error", "getmetatable", "ipairs", "next", "pairs", "pcall", "rawequal", "rawget", "rawlen", "rawset",
  "select", "setmetatable", "tonumber", "tostring", "type", "xpcall", "_VERSION",
  "coroutine", "io", "math", "string", "table", "utf8",
}

local function new_require(name, folder, env)
  local loaded = {}
  return function(wanted)
    if wanted == "mycorrizal" or wanted:find("^mycorrizal%.") then return require(wanted) end
    local own = wanted:sub(1, #name + 1) == name .. "." and wanted:sub(#name + 2)
    local path = own and package.searchpath(own, folder .. "/?.lua")
    if not path then
      error(("there is no '%s': this module sees mycorrizal.* and its own files, %s.*"):format(wanted, name), 2)
    end
    if loaded[wanted] == nil then
      local value = assert(loadfile(path, "t", env))(wanted, path)
      loaded[wanted] = value == nil and true or value
    end
    return loaded[wanted]
  end
end

local function new_print(name)
  return function(...)
    local parts = {}
    for i = 1, select("#", ...) do parts[i] = tostring((select(i, ...))) end
    core.note(name, table.concat(parts, " "))
  end
end

-- Globals that a module assigns stay its own; print() writes into the node's log.
local function new_env(name, folder)
  local env = { print = new_print(name) }
  for _, global in ipairs(GLOBALS) do env[global] = _G[global] end
  local function exit() error("this would end the node", 2) end
  env.os = setmetatable({ exit = exit }, { __index = os })
  env.load = function(chunk, title, mode, own) return load(chunk, title, mode, own or env) end
  env.require = new_require(name, folder, env)
  env._G = env
  return env
end

-- ── Checking ──

local TYPES <const> = { string = true, number = true, integer = true, boolean = true }
local FIELDS <const> = { name = true, doc = true, options = true, start = true }

local function fits(wanted, value)
  if wanted == "integer" then return math.type(value) == "integer" end
  return type(value) == wanted
end

local function is_text(value)
  return type(value) == "string" and value ~= ""
end

-- The same shape as a policy's options.
local function check_described(name, option)
  local what = ("option '%s'"):format(tostring(name))
  if type(name) ~= "string" then return what .. " has a name that is no string" end
  if type(option) ~= "table" then return what .. " is not {type, default, doc}" end
  if not is_text(option.doc) then return what .. " has no doc" end
  if not TYPES[option.type] or not fits(option.type, option.default) then
    return ("%s: its default is not of type '%s' (string, number, integer, boolean)"):format(
      what, tostring(option.type))
  end
end

-- What is wrong with what init.lua returned.
local function check_module(module, name)
  if type(module) ~= "table" then return "init.lua returns no table" end
  for field in pairs(module) do
    if not FIELDS[field] then
      return ("it has an unknown field '%s' (known: name, doc, options, start)"):format(tostring(field))
    end
  end
  if module.name ~= name then return ("its name is '%s', that of its folder '%s'"):format(module.name, name) end
  if not is_text(module.doc) then return "it has no doc" end
  if type(module.start) ~= "function" then return "it has no function 'start'" end
  if type(module.options or {}) ~= "table" then return "its options are no table" end
  for option, described in pairs(module.options or {}) do
    local wrong = check_described(option, described)
    if wrong then return wrong end
  end
end

--- Loads a module by its name, or by the path of its folder.
---@param word string
---@return myco.module?
---@return string? message
---@return string? code
function M.load(word)
  local folder, name = find(word)
  if not folder then
    return nil, ("there is no module '%s'; there are: %s"):format(word, table.concat(M.available(), ", ")), "ENOTFOUND"
  end
  local chunk, message = loadfile(folder .. "/init.lua", "t", new_env(name, folder))
  if not chunk then return nil, ("module %s: %s"):format(name, message), "ELUA" end
  local ok, module = pcall(chunk)
  local wrong = not ok and tostring(module) or check_module(module, name)
  if wrong then return nil, ("module %s: %s"):format(name, wrong), "EINVAL" end
  return module
end

-- ── Options ──

local function describe_options(module)
  local names = {}
  for name, option in pairs(module.options or {}) do names[#names + 1] = ("%s (%s)"):format(name, option.type) end
  table.sort(names)
  return #names > 0 and "it has: " .. table.concat(names, ", ") or "it has none"
end

--- The options of a module: those that are given, and the defaults of the others.
---@param module myco.module
---@param given table
---@return table? options
---@return string? message
---@return string? code
function M.settle(module, given)
  local options = {}
  for name, described in pairs(module.options or {}) do options[name] = described.default end
  for name, value in pairs(given) do
    local described = (module.options or {})[name]
    if not described then
      return nil, ("module %s has no option '%s'; %s"):format(
        module.name, tostring(name), describe_options(module)), "EINVAL"
    end
    if not fits(described.type, value) then
      return nil, ("module %s: option %s is %s, not of type %s"):format(
        module.name, name, math.type(value) or type(value), described.type), "EINVAL"
    end
    options[name] = value
  end
  return options
end

return M
