-- One-shot commands: what pulse offers to scripts. Each file of this folder returns definitions;
-- the client parses the command line by them, the node runs them.

---@class myco.flag
---@field [1] string|false placeholder of its value
---@field [2] string doc
---@field integer boolean?
---@field duration boolean?
---@field fence boolean? NAME:EPOCH
---@field file string? the argument whose place the file's content takes

---@class myco.command
---@field name string one or two words
---@field summary string
---@field doc string? more, for --help
---@field args { [1]: string, optional: boolean?, file: boolean?, rest: boolean? }[]
--- `file`: its content travels; `rest`: a list of all words that are left
---@field flags table<string, myco.flag>?
---@field missing string? what exit code 1 means
---@field client (fun(context: table, args: table, flags: table): integer)? runs in the client instead
---@field run (fun(context: table, args: table, flags: table): table?, string?, string?)?
--- returns {value = for --json, text = for people, bytes = unchanged to stdout, columns = of
--- value's rows, missing = message, head = a line above them, rows = when value is no list, status = exit status}

local fence <const> = require "mycorrizal.fence"
local text <const> = require "mycorrizal.text"

local M <const> = {}

local FILES <const> = {
  "cluster", "loss", "nodosum", "stand", "transfer", "discovery", "septum", "keys", "changes", "watch", "ring", "load",
  "events", "policy",
  "chronicle", "topology",
}

local definitions, by_name = {}, {}
for _, file in ipairs(FILES) do
  for _, definition in ipairs(require("mycorrizal.command." .. file)) do
    definitions[#definitions + 1] = definition
    by_name[definition.name] = definition
  end
end

--- All commands, in the order in which they are explained.
---@return myco.command[]
function M.all()
  return definitions
end

--- A command by its name.
---@param name string
---@return myco.command?
function M.find(name)
  return by_name[name]
end

-- ── Checking ──

local function check_flag(definition, name, value)
  local flag = definition.flags and definition.flags[name]
  if not flag then return nil, ("unknown option --%s"):format(name) end
  if not flag[1] then return value == true, ("--%s takes no value"):format(name) end
  if flag.integer and not math.tointeger(tonumber(value)) then
    return nil, ("--%s %s: not an integer"):format(name, tostring(value))
  end
  if flag.duration and not text.parse_duration(tonumber(value) or value) then
    return nil, ("--%s %s: not a duration"):format(name, tostring(value))
  end
  if flag.fence and not fence.parse(tostring(value)) then
    return nil, ("--%s %s: not NAME:EPOCH, with an epoch above 0"):format(name, tostring(value))
  end
  return true
end

--- Checks arguments by name and flags; numbers become numbers.
---@param definition myco.command
---@param args table?
---@param flags table?
---@return table? args
---@return string? message
function M.check(definition, args, flags)
  args, flags = args or {}, flags or {}
  for _, argument in ipairs(definition.args) do
    local value = args[argument[1]]
    if value == nil and not argument.optional then
      return nil, ("%s: %s is missing"):format(definition.name, argument[1]:upper())
    end
    if value ~= nil and type(value) ~= (argument.rest and "table" or "string") then
      return nil, ("%s: %s is no text"):format(definition.name, argument[1]:upper())
    end
  end
  for name, value in pairs(flags) do
    local ok, message = check_flag(definition, name, value)
    if not ok then return nil, ("%s: %s"):format(definition.name, message) end
    local flag = definition.flags[name]
    if flag.integer or flag.duration then
      flags[name] = math.tointeger(tonumber(value)) or tonumber(value) or value
    end
  end
  return args
end

-- ── The command line ──

local function take_flag(definition, word, words, at, flags)
  local name, value = word:match("^%-%-([^=]+)=(.*)$")
  name = name or word:sub(3)
  local flag = definition.flags and definition.flags[name]
  if not flag then return nil, ("%s: unknown option --%s"):format(definition.name, name) end
  if not flag[1] then
    if value then return nil, ("%s: --%s takes no value"):format(definition.name, name) end
    flags[name] = true
    return at
  end
  if not value then
    at = at + 1
    value = words[at]
  end
  if not value then return nil, ("%s: --%s wants a value"):format(definition.name, name) end
  flags[name] = value
  return at
end

--- Finds the command in words of a command line: its definition, and where its arguments begin.
---@param words string[]
---@return myco.command?
---@return integer|string first, or a message
function M.of_words(words)
  local two = words[2] and by_name[words[1] .. " " .. words[2]]
  if two then return two, 3 end
  if by_name[words[1]] then return by_name[words[1]], 2 end
  for name in pairs(by_name) do
    if name:match("^(%S+) ") == words[1] then
      return nil, ("%s: which? See pulse %s --help"):format(words[1], words[1])
    end
  end
  return nil, ("there is no command '%s'; pulse --help lists them"):format(words[1])
end

--- Parses arguments and flags; what follows `--` is no flag. Checked, but for what files hold.
---@param definition myco.command
---@param words string[]
---@param first integer
---@return table? args by name
---@return table|string flags, or a message
function M.parse(definition, words, first)
  local values, flags, at, plain = {}, {}, first, false
  while words[at] do
    local word = words[at]
    if not plain and word == "--" then
      plain = true
    elseif not plain and word:match("^%-%-.") then
      local next_at, message = take_flag(definition, word, words, at, flags)
      if not next_at then return nil, message end
      at = next_at
    else
      values[#values + 1] = word
    end
    at = at + 1
  end
  local last = definition.args[#definition.args]
  local rest = last and last.rest and table.move(values, #definition.args, #values, 1, {})
  if rest then
    for last_at = #values, #definition.args, -1 do values[last_at] = nil end
    values[#definition.args] = rest[1] and rest
  end
  if #values > #definition.args then
    return nil, ("%s: '%s' is one argument too many"):format(definition.name, values[#definition.args + 1])
  end
  local args = {}
  for i, argument in ipairs(definition.args) do args[argument[1]] = values[i] end
  local ok, message = M.check(definition, args, flags)
  if not ok then return nil, message end
  return args, flags
end

-- ── Help ──

--- "get SEPTUM KEY [--json]"
---@param definition myco.command
---@return string
function M.usage(definition)
  local words = { definition.name }
  for _, argument in ipairs(definition.args) do
    local shape = argument.rest and "[-- %s …]" or argument.optional and "[%s]" or "%s"
    words[#words + 1] = shape:format(argument[1]:upper())
  end
  local names = {}
  for name in pairs(definition.flags or {}) do names[#names + 1] = name end
  table.sort(names)
  for _, name in ipairs(names) do
    local placeholder = definition.flags[name][1]
    words[#words + 1] = placeholder and ("[--%s %s]"):format(name, placeholder) or ("[--%s]"):format(name)
  end
  return table.concat(words, " ")
end

--- All that is to be said of a command.
---@param definition myco.command
---@return string
function M.help(definition)
  local lines = { "usage: pulse " .. M.usage(definition), "", definition.summary }
  if definition.doc then lines[#lines + 1] = definition.doc end
  local names = {}
  for name in pairs(definition.flags or {}) do names[#names + 1] = name end
  table.sort(names)
  if #names > 0 then lines[#lines + 1] = "" end
  for _, name in ipairs(names) do
    local flag = definition.flags[name]
    lines[#lines + 1] = ("  %-20s %s"):format("--" .. name .. (flag[1] and " " .. flag[1] or ""), flag[2])
  end
  local missing = definition.missing and ("1 %s, "):format(definition.missing) or ""
  local statuses = "\nexit status: 0 done, %s2 failed (see stderr), 3 no node to talk to, 64 wrong usage"
  lines[#lines + 1] = statuses:format(missing)
  return table.concat(lines, "\n")
end

return M
