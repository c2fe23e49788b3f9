-- One-shot commands: words of a command line in, output and an exit status out.

local command <const> = require "mycorrizal.command"
local connect <const> = require("pulse.client").connect
local output <const> = require "pulse.print"
local loop <const> = require "mycorrizal.io.loop"
local json <const> = require "mycorrizal.json"
local tty <const> = require "mycorrizal.io.tty"

local M <const> = {}

M.DONE, M.MISSING, M.FAILED, M.NO_NODE, M.USAGE = 0, 1, 2, 3, 64

local function complain(message)
  io.stderr:write("pulse: ", message, "\n")
end

local function read_content(path)
  if path == "-" then return io.stdin:read("a") end
  local file, message = io.open(path, "rb")
  if not file then return nil, message end
  local content = file:read("a")
  file:close()
  if not content then return nil, path .. ": it can't be read" end
  return content
end

--- Puts what files hold in the place of their paths.
local function read_files(definition, args, flags)
  for _, argument in ipairs(definition.args) do
    local path = argument.file and args[argument[1]]
    if path then
      local content, message = read_content(path)
      if not content then return nil, message end
      args[argument[1]] = (path:match("([^/]+)%.lua$") or path:match("([^/]+)$")) .. "\n" .. content
    end
  end
  for name, flag in pairs(definition.flags or {}) do
    if flag.file and flags[name] then
      local content, message = read_content(flags[name])
      if not content then return nil, message end
      if args[flag.file] then return nil, ("both --%s and %s are given"):format(name, flag.file:upper()) end
      args[flag.file], flags[name] = content, nil
    end
  end
  return true
end

--- Finds and parses a command; nil and the exit status when there is nothing to run.
---@param words string[]
---@return table? parsed {definition, args, flags}
---@return integer? status
function M.parse(words)
  local definition, first = command.of_words(words)
  if not definition then
    complain(first)
    return nil, M.USAGE
  end
  for i = first, #words do
    if words[i] == "--" then break end
    if words[i] == "--help" or words[i] == "-h" then
      print(command.help(definition))
      return nil, M.DONE
    end
  end
  local args, flags = command.parse(definition, words, first)
  if not args then
    complain(("%s\nusage: pulse %s"):format(flags, command.usage(definition)))
    return nil, M.USAGE
  end
  local ok, message = read_files(definition, args, flags)
  if not ok then
    complain(message)
    return nil, M.FAILED
  end
  return { definition = definition, args = args, flags = flags }
end

local function on_item(item, as_json)
  if item.ready then
    io.stderr:write(item.watching and "watching " or "subscribed to ", item.ready, "\n")
    return
  end
  io.stdout:write(output.item(item, as_json))
  io.stdout:flush()
end

-- Who reads may have gone away: then there is nobody to write for.
local function show_item(text)
  if not (io.stdout:write(text, "\n") and io.stdout:flush()) then os.exit(M.FAILED) end
end

local function ask(client, parsed)
  local definition, as_json = parsed.definition, parsed.flags.json
  if definition.client then
    return definition.client({
      client = client, connect = connect, now_ms = loop.now_ms, note = function(text) io.stderr:write(text, "\n") end,
      show = function(item, text) show_item(as_json and json.encode(item) or text) end,
    }, parsed.args, parsed.flags)
  end
  local reply, message, code = client:request({
    op = "command", name = definition.name, args = parsed.args, flags = parsed.flags, limit = definition.limit or 60,
  }, function(part)
    if part.item then on_item(part.item, as_json) end
  end)
  if not reply then return nil, message, code end
  return reply.result
end

--- Runs it on the node.
---@param client pulse.client
---@param parsed table
---@return integer status
function M.run(client, parsed)
  local result, message, code = ask(client, parsed)
  if not result then
    complain(("%s (%s)"):format(message, code))
    return code == "ENOTCONN" and M.NO_NODE or M.FAILED
  end
  if result.missing then
    complain(result.missing)
    return M.MISSING
  end
  if result.status then return result.status end
  local text = output.result(result, parsed.flags.json)
  if result.bytes and not parsed.flags.json and tty.is_terminal(1) and text:sub(-1) ~= "\n" then
    text = text .. "\n"
  end
  io.stdout:write(text)
  return io.stdout:flush() and M.DONE or M.FAILED
end

return M
