-- What one person types: its globals, evaluation, completion. Globals are those of the node's Lua
-- state; what a session assigns stays its own.

local core <const> = require "mycorrizal.core"
local loop <const> = require "mycorrizal.io.loop"
local show <const> = require "mycorrizal.show"

local M <const> = {}

---@class myco.session
---@field env table
local Session <const> = {}
Session.__index = Session

local HELP <const> = [[
node, mycel, cytoplasm, nodosum, hypha    this node and its four systems; also: myco, task, runtime
  mycel:septum("carts", {kind = "durable"})      creates, or opens, a septum; mycel.carts is one that exists
  mycel.carts:put(
    "u:7", {items = 3})            :get :del :count :update; for key, value in mycel.carts:scan("u:") do … end
  cytoplasm:publish("orders.7.created", "…")     :request :subscribe :flush
  nodosum:leaders()  nodosum:members()           nodosum:campaign("name", {on_gained = …})
  hypha:status()  hypha:metrics()  hypha:call("host.function", …)
Names can be completed with Tab. An incomplete line goes on in the next. Ctrl-D leaves; so does exit in pulse's line.]]

-- ── Globals ──

local function new_runtime(node)
  return {
    memory = function() return ("%.1f MiB"):format(loop.memory() / (1 << 20)) end,
    lua_memory = function() return ("%.1f MiB"):format(core.memory() / (1 << 20)) end,
    version = core.version(),
    node = node.name,
  }
end

local function new_print(self)
  return function(...)
    local parts = {}
    for i = 1, select("#", ...) do parts[i] = tostring((select(i, ...))) end
    self.out(table.concat(parts, "\t") .. "\n")
  end
end

-- The host's functions: shop.recount(…) of an exposed "shop.recount".
local function exposed(node)
  local roots = {}
  for _, name in ipairs(node.hypha:functions()) do
    local at, last = roots, name:match("([^.]+)$")
    for part in name:gmatch("([^.]+)%.") do
      if type(at[part]) ~= "table" then at[part] = {} end
      at = at[part]
    end
    if last then at[last] = function(...) return node.hypha:call(name, ...) end end
  end
  return roots
end

-- os, but for what would end the host.
local function tame_os()
  local function exit() error("this would end the node: Ctrl-D leaves pulse", 2) end
  return setmetatable({ exit = exit }, { __index = os })
end

local function new_env(self, node)
  local own = {
    os = tame_os(),
    node = node, mycel = node.mycel, cytoplasm = node.cytoplasm, nodosum = node.nodosum, hypha = node.hypha,
    myco = require "mycorrizal", task = require "mycorrizal.task", runtime = new_runtime(node), show = show.value,
    print = new_print(self), help = function() self.out(HELP .. "\n") end,
  }
  own._G = own
  return setmetatable(own, {
    __index = function(_, name)
      local global = _G[name]
      if global ~= nil then return global end
      return exposed(node)[name]
    end,
  })
end

--- A session on a node.
---@param node myco.node
---@return myco.session
function M.new(node)
  local self = setmetatable({ out = function() end, node = node }, Session)
  self.env = new_env(self, node)
  return self
end

--- Where print() goes from now on.
---@param out fun(text: string)
function Session:print_to(out)
  self.out = out
end

-- ── Evaluation ──

--- Evaluates an expression or statements, in the running task. What it raises is raised.
---@param code string
---@return table? results as table.pack
---@return string? message
---@return string? code
function Session:eval(code)
  local chunk, message = load("return " .. code, "=pulse", "t", self.env)
  if not chunk then chunk, message = load(code, "=pulse", "t", self.env) end
  if not chunk then return nil, message, "ELUA" end
  return table.pack(chunk())
end

-- ── Completion ──

local function add_names(names, from)
  if type(from) ~= "table" then return end
  for name in next, from do
    if type(name) == "string" and name:match("^[%a_][%w_]*$") then names[name] = true end
  end
end

local function names_of(object)
  local names = {}
  add_names(names, object)
  local meta = type(object) == "string" and { __index = string } or type(object) == "table" and getmetatable(object)
  if type(meta) == "table" then
    if type(meta.__index) == "table" then add_names(names, meta.__index) end
    for _, name in ipairs(meta.__names and meta.__names(object) or {}) do names[name] = true end
  end
  return names
end

local KEYWORDS <const> = [[and break do else elseif end false for function goto if in local nil not or repeat return
  then true until while]]

local function global_names(env, node)
  local names = {}
  add_names(names, env)
  add_names(names, _G)
  add_names(names, exposed(node))
  for word in KEYWORDS:gmatch("%a+") do names[word] = true end
  return names
end

-- The object that a path of names stands for; nothing is called but the lookup of septa by name.
local function follow(env, path)
  local object = env
  for name in path:gmatch("[%a_][%w_]*") do
    local kind = type(object)
    if kind ~= "table" and kind ~= "string" then return nil end
    object = object[name]
  end
  return object
end

--- Names that continue the end of `text`: where they start in it, and what they are.
---@param text string up to the cursor
---@return integer start
---@return string[] names
function Session:complete(text)
  local start, path = text:match("()([%a_][%w_.:]*)$")
  if not start then return #text + 1, {} end
  local owner, separator, partial = path:match("^(.*)([.:])([%w_]*)$")
  local object = owner and follow(self.env, owner)
  local names = owner and names_of(object) or global_names(self.env, self.node)
  partial = partial or path
  local found = {}
  for name in pairs(names) do
    local fits = name:sub(1, #partial) == partial and (partial ~= "" or name:sub(1, 1) ~= "_")
    if fits and (separator ~= ":" or type(object[name]) == "function") then found[#found + 1] = name end
  end
  table.sort(found)
  return #text - #partial + 1, found
end

return M
