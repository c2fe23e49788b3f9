-- A stream of durable writes into the septum `ledger`, as clients make them: several writers, each waits for
-- its acknowledgement, and the longest wait is kept.

local client <const> = require "pulse.client"
local cluster <const> = require "cluster"
local loop <const> = require "mycorrizal.io.loop"
local task <const> = require "mycorrizal.task"

local M <const> = {}

-- As `pulse put` does. A write whose outcome is not known, or that could not be done, is made again with the
-- same value.
local function put(stream, connection, key, value)
  while true do
    local stored, message, code = connection:request({
      op = "command", name = "put", args = { septum = "ledger", key = key, value = value }, limit = 20,
    })
    if stored then return end
    if code ~= "EUNKNOWN" and code ~= "EUNAVAILABLE" then error(("put %s: %s (%s)"):format(key, message, code)) end
    if code == "EUNKNOWN" then stream.unknown = stream.unknown + 1 end
  end
end

-- Each writer stores one key after the other, and waits for each acknowledgement.
local function write_on(stream, writer, number)
  local connection = assert(client.connect(stream.address))
  local last_ms, n = loop.now_ms(), 0
  while not stream.stop do
    n = n + 1
    local key, value = ("%s-%d-%06d"):format(stream.name, number, n), ("value %d of writer %d"):format(n, number)
    put(stream, connection, key, value)
    local ms = loop.now_ms()
    if ms - last_ms > stream.gap_ms then stream.gap_ms, stream.gap_at = ms - last_ms, stream.now() end
    last_ms, writer.acknowledged = ms, n
    stream.acknowledged[key] = value
    stream.count = stream.count + 1
    if stream.pause then task.sleep(stream.pause) end
  end
  connection:close()
end

--- Starts writers; finish() ends them. `now` is the clock of gap_at: when the longest wait for an
--- acknowledgement ended.
function M.start(name, address, writers, pause, now)
  local stream = {
    name = name, address = address, pause = pause, now = now, writers = {},
    count = 0, unknown = 0, gap_ms = 0, acknowledged = {},
  }
  for i = 1, writers do
    local writer = { acknowledged = 0 }
    stream.writers[i] = writer
    writer.task = task.spawn(write_on, stream, writer, i)
  end
  return stream
end

function M.finish(stream)
  stream.stop = true
  for _, writer in ipairs(stream.writers) do writer.task:join() end
end

--- Waits until each writer got so many more acknowledgements.
function M.wait(stream, count)
  local before = {}
  for i, writer in ipairs(stream.writers) do before[i] = writer.acknowledged end
  cluster.wait_until(("%d more writes of each writer"):format(count), "20s", function()
    for i, writer in ipairs(stream.writers) do
      if writer.task.status == "failed" then error(writer.task.error, 0) end
      if writer.acknowledged < before[i] + count then return false end
    end
    return true
  end)
end

return M
