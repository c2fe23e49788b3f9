-- A real S3 server (scripts/s3-server), and a proxy in front of it that does to requests what networks and busy
-- stores do.

local helper <const> = require "spec.support.helper"
local stream <const> = require "mycorrizal.io.stream"
local task <const> = require "mycorrizal.task"
local uv <const> = require "luv"

local M <const> = {}

---@class spec.s3
---@field address string of the proxy, "127.0.0.1:PORT"
---@field fault fun(head: string): string? asked for each request: "busy", "lost", "slow", "damaged", or nil
---@field counts table<string, integer> how often each fault was done, and "passed"
local S3 <const> = {}
S3.__index = S3

--- The reason why there can't be one here; nil: there can.
---@return string?
function M.why_not()
  if os.execute("command -v radosgw >/dev/null 2>&1") then return nil end
  return "radosgw is not installed: run scripts/setup"
end

local BUSY <const> = "<Error><Code>SlowDown</Code><Message>Reduce your request rate.</Message></Error>"
local BUSY_ANSWER <const> = ("HTTP/1.1 503 Slow Down\r\nContent-Type: application/xml\r\nContent-Length: %d\r\n"
  .. "Connection: close\r\n\r\n%s"):format(#BUSY, BUSY)

--- One request: its head with the empty line, and its body.
local function read_request(from)
  local bytes = ""
  while not bytes:find("\r\n\r\n", 1, true) do
    local chunk = from:read()
    if not chunk then return nil end
    bytes = bytes .. chunk
  end
  local _, last = bytes:find("\r\n\r\n", 1, true)
  local head = bytes:sub(1, last)
  if head:lower():find("\r\nexpect: *100%-continue") then from:write("HTTP/1.1 100 Continue\r\n\r\n") end
  local size = tonumber(head:lower():match("\r\ncontent%-length: *(%d+)")) or 0
  local parts, have = { bytes:sub(last + 1) }, #bytes - last
  while have < size do
    local chunk = from:read()
    if not chunk then return nil end
    parts[#parts + 1] = chunk
    have = have + #chunk
  end
  return head, table.concat(parts)
end

--- Asks the server; its whole answer.
local function forward(self, head, body)
  local to <close> = assert(stream.connect(self.upstream))
  head = head:gsub("\r\nExpect:[^\r]*", ""):gsub("\r\n", "\r\nConnection: close\r\n", 1)
  assert(to:write(head .. body))
  local parts = {}
  while true do
    local chunk = to:read()
    if not chunk then return table.concat(parts) end
    parts[#parts + 1] = chunk
  end
end

--- One byte in the middle of an object; what is no object stays as it is.
local function damage(head, answer)
  local _, last = answer:find("\r\n\r\n", 1, true)
  if not head:match("^GET /[^/? ]+/") or not answer:match("^HTTP/1.1 200") or #answer <= last then return nil end
  local at = last + (#answer - last + 1) // 2
  return answer:sub(1, at - 1) .. string.char(answer:byte(at) ~ 1) .. answer:sub(at + 1)
end

local function serve(self, client)
  local from <close> = client
  local head, body = read_request(from)
  if not head then return end
  local fault = self.fault(head)
  if fault == "slow" then task.sleep("500ms") end
  local answer = fault == "busy" and BUSY_ANSWER or forward(self, head, body)
  if fault == "damaged" then
    local damaged = damage(head, answer)
    if damaged then answer = damaged else fault = nil end
  end
  self.counts[fault or "passed"] = (self.counts[fault or "passed"] or 0) + 1
  if fault ~= "lost" then from:write(answer) end
end

--- Starts server and proxy. Nodes that are started afterwards find the credentials in the environment.
---@return spec.s3
function M.start()
  local self = setmetatable({ folder = helper.new_folder(), counts = {}, fault = function() end }, S3)
  local starting = helper.spawn { "scripts/s3-server", "start", self.folder .. "/s3", "spec" }
  local status = task.deadline(60, function() return starting:wait_end() end)
  assert(status == 0, starting.err)
  for name, value in starting.out:gmatch("([%w_]+)=([^\n]*)") do
    if name:match("^AWS_") then uv.os_setenv(name, value) end
    if name == "S3_ENDPOINT" then self.upstream = value:match("^http://(.*)$") end
  end
  self.listener = assert(stream.listen("127.0.0.1:0", function(client)
    task.start(serve, self, client)
  end))
  self.address = self.listener.address
  return self
end

--- The URL of a store in it.
---@param prefix string
---@return string
function S3:url(prefix)
  return ("s3://spec/%s?endpoint=http://%s&path_style=yes&timeout=5s"):format(prefix, self.address)
end

function S3:stop()
  self.listener:close()
  local stopping = helper.spawn { "scripts/s3-server", "stop", self.folder .. "/s3" }
  task.deadline(20, function() return stopping:wait_end() end)
  helper.remove(self.folder)
end

return M
