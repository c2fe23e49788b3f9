-- The conversation: lines are typed, evaluated on the node, and their results shown.

local line <const> = require "pulse.line"
local task <const> = require "mycorrizal.task"
local tty <const> = require "mycorrizal.io.tty"

local M <const> = {}

local EVAL_LIMIT_S <const> = 300
local HISTORY_MAX <const> = 1000
local SHOWN_MAX <const> = 200

-- ── Evaluation ──

--- Whether more lines are needed: Lua's parser met the end of the text.
---@param code string
---@return boolean
function M.is_incomplete(code)
  if load("return " .. code) then return false end
  local chunk, message = load(code)
  return not chunk and message:match("near <eof>$") ~= nil
end

--- Evaluates, and writes what it printed and its results. False when it failed.
---@param client pulse.client
---@param code string
---@return boolean
function M.evaluate(client, code)
  local reply, message, failure = client:request({ op = "eval", code = code, limit = EVAL_LIMIT_S }, function(part)
    if part.out then
      io.stdout:write(part.out)
      io.stdout:flush()
    end
  end)
  if not reply then
    io.stdout:flush()
    io.stderr:write(failure == "ELUA" and message or ("%s (%s)"):format(message, failure), "\n")
    return false
  end
  if reply.count > 0 then io.stdout:write(reply.text, "\n") end
  io.stdout:flush()
  return true
end

--- Who answers, in one line.
---@param client pulse.client
---@return string? name
---@return string banner, or a message
function M.greet(client)
  local hello, message = client:request({ op = "hello" })
  if not hello then return nil, message end
  local version = hello.version:match("^%d+%.%d+") or hello.version
  local leader = hello.leader ~= "" and hello.leader or "none yet"
  local nodes = hello.nodes == 1 and "1 node" or ("%d nodes"):format(hello.nodes)
  return hello.name, ("pulse v%s · %s/%s · %s · leader of nodosum: %s     help() · Ctrl-D leaves"):format(
    version, hello.cluster, hello.name, nodes, leader)
end

-- ── Without a terminal: lines of a file or a pipe ──

local function run_lines(client)
  local code, ok = "", true
  for text in io.stdin:lines() do
    code = code == "" and text or code .. "\n" .. text
    if code:match("^%s*$") then
      code = ""
    elseif not M.is_incomplete(code) then
      ok = M.evaluate(client, code) and ok
      code = ""
    end
  end
  if code ~= "" then ok = M.evaluate(client, code) and ok end
  return ok and 0 or 2
end

-- ── Typing ──

local function history_file()
  local given = os.getenv("PULSE_HISTORY")
  if given then return given ~= "" and given or nil end
  local home = os.getenv("HOME")
  return home and home .. "/.pulse_history"
end

local function common_prefix(names)
  local prefix = names[1] or ""
  for _, name in ipairs(names) do
    while name:sub(1, #prefix) ~= prefix do prefix = prefix:sub(1, -2) end
  end
  return prefix
end

local function show_names(names)
  local shown = table.move(names, 1, math.min(#names, SHOWN_MAX), 1, {})
  if #names > SHOWN_MAX then shown[#shown + 1] = ("… and %d more"):format(#names - SHOWN_MAX) end
  io.stdout:write("\n", table.concat(shown, "  "), "\n")
  io.stdout:flush()
end

-- Tab: what all names have in common is inserted; when that is nothing, they are shown.
local function complete(client)
  local text, point = line.buffer()
  local before = text:sub(1, point)
  if before:match("^%s*$") then return line.insert("  ") end
  local reply = client:request({ op = "complete", text = before, limit = 5 })
  local now, now_point = line.buffer()
  if not reply or now ~= text or now_point ~= point or #reply.names == 0 then return end
  local rest = common_prefix(reply.names):sub(#before - reply.start + 2)
  if rest ~= "" then return line.insert(rest) end
  if #reply.names > 1 then
    show_names(reply.names)
    line.redisplay()
  end
end

-- What happens next: "input", or "interrupt" (Ctrl-C).
local function next_event(state)
  local stop
  local event = task.await(function(callback)
    state.interrupt = function() callback("interrupt") end
    stop = tty.watch_input(function() callback("input") end)
    return true
  end)
  state.interrupt = nil
  stop()
  return event
end

-- One line, with Tab on the way; false at Ctrl-C, nil at Ctrl-D.
local function read_line(state, prompt)
  line.start(prompt)
  while true do
    if next_event(state) == "interrupt" then
      line.stop()
      io.stdout:write("^C\n")
      return false
    end
    local event, text = line.read()
    if event == "line" then return text end
    if event == "end" then return nil end
    if event == "tab" then complete(state.client) end
  end
end

-- Lines until they make a whole; "" when that was given up.
local function read_chunk(state, name)
  local prompt = name .. "> "
  local code = read_line(state, prompt)
  while code and code:match("%S") and M.is_incomplete(code) do
    local more = read_line(state, (" "):rep(#prompt - 3) .. ".. ")
    if not more then return "" end
    code = code .. "\n" .. more
  end
  if code == false then return "" end
  return code
end

local function converse(state, name)
  local client = state.client
  local history = history_file()
  if history then line.read_history(history, HISTORY_MAX) end
  while true do
    local code = read_chunk(state, name)
    if not code or code:match("^%s*exit%s*$") then break end
    if code:match("%S") then
      line.add_history(code)
      if history then line.write_history(history) end
      M.evaluate(client, code)
    end
    if client.ended then return 3 end
  end
  io.stdout:write("\n")
  return 0
end

--- Runs the conversation; its exit status.
---@param client pulse.client
---@return integer status
function M.run(client)
  if not tty.is_terminal(0) then return run_lines(client) end
  local name, banner = M.greet(client)
  if not name then
    io.stderr:write("pulse: ", banner, "\n")
    return 3
  end
  print(banner)
  local state = { client = client }
  local stop = tty.watch_interrupt(function()
    if state.interrupt then state.interrupt() else client:cancel() end
  end)
  local status = converse(state, name)
  stop()
  line.stop()
  return status
end

return M
