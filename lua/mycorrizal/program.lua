-- Runs a script as a task: what `mycorrizal lua FILE`, pulse and the specs are. done(status) ends
-- the program.

local core <const> = require "mycorrizal.core"
local task <const> = require "mycorrizal.task"

local function status_of(running)
  if running.status ~= "done" then return 1 end
  local status = running.results[1]
  if status == nil or status == true then return 0 end
  return math.type(status) == "integer" and status or 1
end

return function(script, done)
  local chunk, message = loadfile(script ~= "-" and script or nil)
  if not chunk then
    core.report(message)
    return done(1)
  end
  local running = task.start(chunk, table.unpack(_G.arg))
  running.on_end[#running.on_end + 1] = function() done(status_of(running)) end
end
