-- pulse: a REPL on a live node, and one-shot commands. See pulse.1.

local client <const> = require "pulse.client"
local command <const> = require "pulse.command"
local definitions <const> = require "mycorrizal.command"
local repl <const> = require "pulse.repl"

local USAGE <const> = [[
usage: pulse [--connect ADDRESS]                  a Lua REPL on a node
       pulse [--connect ADDRESS] -e LUA           evaluates, and writes the results
       pulse [--connect ADDRESS] COMMAND …        one of:
]]

local FOOT <const> = [[

ADDRESS is HOST:PORT or the path of a node's socket; without it $PULSE_CONNECT, else the only node below
this folder (./*.myco/pulse.sock). pulse COMMAND --help says more.]]

local function help()
  local lines = {}
  for _, definition in ipairs(definitions.all()) do
    lines[#lines + 1] = ("  %-18s %s"):format(definition.name, definition.summary)
  end
  return USAGE .. "\n" .. table.concat(lines, "\n") .. "\n" .. FOOT
end

local function usage_error(message)
  io.stderr:write("pulse: ", message, "\n")
  return nil, command.USAGE
end

-- --connect may stand anywhere before `--`; the rest is left as it is.
local function take_connect(words)
  local rest, address, at, plain = {}, nil, 1, false
  while words[at] do
    local value = not plain and words[at]:match("^%-%-connect=(.*)$")
    if words[at] == "--" then plain = true end
    if not plain and words[at] == "--connect" then
      at = at + 1
      value = words[at]
      if not value then return usage_error("--connect wants HOST:PORT or the path of a socket") end
    end
    if value then address = value else rest[#rest + 1] = words[at] end
    at = at + 1
  end
  return rest, address
end

local function with_node(address, run, ...)
  local found, message = client.find_address(address)
  local connected
  if found then connected, message = client.connect(found) end
  if not connected then
    io.stderr:write("pulse: ", message, "\n")
    return command.NO_NODE
  end
  local status = run(connected, ...)
  connected:close()
  return status
end

local function evaluate(connected, code)
  return repl.evaluate(connected, code) and command.DONE or command.FAILED
end

local function main(...)
  local words, address = take_connect({ ... })
  if not words then return address end
  local first = words[1]
  if not first then return with_node(address, repl.run) end
  if first == "--help" or first == "-h" or first == "help" then
    print(help())
    return command.DONE
  end
  if first == "--version" then
    print("pulse " .. require("mycorrizal.core").version())
    return command.DONE
  end
  if first == "-e" then
    if not words[2] or words[3] then return select(2, usage_error("-e wants one piece of Lua")) end
    return with_node(address, evaluate, words[2])
  end
  if first:match("^%-") then
    return select(2, usage_error(("unknown option %s; pulse --help lists them"):format(first)))
  end
  local parsed, status = command.parse(words)
  if not parsed then return status end
  return with_node(address, command.run, parsed)
end

return main(...)
