-- The terminal of a program: what stdin is, when something was typed, Ctrl-C.

local loop <const> = require "mycorrizal.io.loop"
local uv <const> = require "luv"

local M <const> = {}

--- Whether this descriptor (0, 1, 2) is a terminal.
---@param descriptor integer
---@return boolean
function M.is_terminal(descriptor)
  return uv.guess_handle(descriptor) == "tty"
end

--- Calls on_input() whenever stdin has something to read; the function that is returned stops it.
---@param on_input fun()
---@return fun() stop
function M.watch_input(on_input)
  local poll = assert(uv.new_poll(0))
  assert(poll:start("r", function() on_input() end))
  return function()
    if not poll:is_closing() then poll:close() end
  end
end

--- Calls on_signal(name) for each of these signals; the function that is returned stops it.
---@param names table<string, any> "sigint", … as keys
---@param on_signal fun(name: string)
---@return fun() stop
function M.watch_signals(names, on_signal)
  local signals = {}
  for name in pairs(names) do
    local signal = assert(uv.new_signal())
    assert(signal:start(name, function() loop.defer(function() on_signal(name) end) end))
    signals[#signals + 1] = signal
  end
  return function()
    for _, signal in ipairs(signals) do
      if not signal:is_closing() then signal:close() end
    end
  end
end

--- Calls on_interrupt() for each Ctrl-C; the function that is returned stops it.
---@param on_interrupt fun()
---@return fun() stop
function M.watch_interrupt(on_interrupt)
  local signal = assert(uv.new_signal())
  assert(signal:start("sigint", function() loop.defer(on_interrupt) end))
  return function()
    if not signal:is_closing() then signal:close() end
  end
end

return M
