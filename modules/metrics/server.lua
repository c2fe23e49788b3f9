-- Connections that ask for pages: each is a task, and everything about them is bounded.
--
--     accept -> head of a request -> page -> response -> the next head …
--                  |                            |
--                  +- garbage, too long, late: 4xx, then the connection is closed
--
-- Before it closes one on which something may still come, the server reads that for a moment: else
-- the system would answer with a reset, and the response could be lost.

local core <const> = require "mycorrizal.core"
local http <const> = require "metrics.http"
local stream <const> = require "mycorrizal.io.stream"
local task <const> = require "mycorrizal.task"

local M <const> = {}

local IDLE <const> = "75s"            -- between two requests; scrapers come every 10 to 60 s
local LINGER <const> = "1s"
local LINGER_SIZE_MAX <const> = 64 << 10

---@class metrics.server
---@field address string as bound
---@field count integer connections that are open
---@field refused integer connections that were one too many, so far
---@field answered table<integer, integer> responses by status, so far
local Server <const> = {}
Server.__index = Server

-- ── Requests ──

-- The bytes up to and with an empty line are taken off the connection.
local function take_head(connection)
  local bytes = connection.bytes:gsub("^[\r\n]+", "") -- between requests, as old clients send
  connection.bytes = bytes
  local _, stop = bytes:find("\r\n\r\n", 1, true)
  local status, reason = http.refusal(bytes:sub(1, stop))
  if status then return nil, status, reason end
  if not stop then return nil end
  connection.bytes = bytes:sub(stop + 1)
  return bytes:sub(1, stop)
end

local function read_more(connection)
  local bytes = connection.stream:read()
  if bytes then connection.bytes = connection.bytes .. bytes end
  return bytes
end

-- A request; nil, status, reason for what is none; nil alone when the connection is over.
local function read_request(connection)
  while true do
    local head, status, reason = take_head(connection)
    if head then return http.parse(head) end
    if status then return nil, status, reason end
    if not read_more(connection) then return nil end
  end
end

local function receive(connection)
  local server = connection.server
  if connection.bytes == "" and not task.deadline(connection.patience, read_more, connection) then return nil end
  connection.patience = IDLE -- from the second request on
  local request, status, reason = task.deadline(server.patience, read_request, connection)
  if reason == "ETIMEDOUT" then return nil, 408, "the request did not come whole in time" end
  return request, status, reason
end

-- ── Responses ──

local function page(server, request)
  local route = server.routes[request.path]
  if not route then return { status = 404, body = server.overview } end
  if request.method ~= "GET" and request.method ~= "HEAD" then
    return { status = 405, body = "GET and HEAD are allowed\n", allow = "GET, HEAD" }
  end
  local ok, status, body, content_type = pcall(route)
  if ok then return { status = status, body = body, content_type = content_type } end
  core.report(("module metrics: %s: %s"):format(request.path, status))
  return { status = 500, body = "this page failed: see the node's log\n" }
end

local function answer(connection, response, keep, head_only)
  local server = connection.server
  server.answered[response.status] = (server.answered[response.status] or 0) + 1
  local bytes = http.response(response, keep, head_only)
  return task.deadline(server.patience, connection.stream.write, connection.stream, bytes)
end

local function refuse(connection, status, reason)
  return answer(connection, { status = status, body = reason .. "\n" }, false, false)
end

-- Whether another request may follow.
local function serve_one(connection)
  local request, status, reason = receive(connection)
  if request then
    local response = page(connection.server, request)
    local keep = request.keeps and not connection.server.closing
    return answer(connection, response, keep, request.method == "HEAD") and keep
  end
  if status then refuse(connection, status, reason) end
  return false
end

-- ── Connections ──

local function discard(connection)
  local size = 0
  while size < LINGER_SIZE_MAX do
    local bytes = connection.stream:read()
    if not bytes then return end
    size = size + #bytes
  end
end

local function close(connection)
  local server = connection.server
  if not server.connections[connection] then return end
  server.connections[connection] = nil
  server.count = server.count - 1
  connection.stream:close()
end

local function linger(connection)
  connection.stream:finish()
  task.deadline(LINGER, discard, connection)
end

local function run(connection)
  local _ <close> = setmetatable({}, { __close = function() close(connection) end })
  if connection.refused then
    refuse(connection, 503, "too many connections")
  else
    repeat until not serve_one(connection)
  end
  linger(connection)
end

-- One too many is told so, unless those who are being told are as many again.
local function on_stream(server, accepted)
  local refused = server.count >= server.connections_max
  if refused then server.refused = server.refused + 1 end
  if server.closing or server.count >= 2 * server.connections_max then return accepted:close() end
  local connection = {
    server = server, stream = accepted, bytes = "", patience = server.patience, refused = refused,
  }
  server.connections[connection] = true
  server.count = server.count + 1
  task.start(run, connection)
end

local function overview(routes)
  local paths = { "/metrics" }
  for path in pairs(routes) do paths[#paths + 1] = path end
  table.sort(paths)
  return "there is: " .. table.concat(paths, ", ") .. "\n"
end

--- Serves pages: routes[path]() gives status, body and content type, and does not wait.
---@param options { listen: string, connections: integer, patience: string }
---@param routes table<string, fun(): integer, string, string?>
---@return metrics.server?
---@return string? message
---@return string? code
function M.start(options, routes)
  local server = setmetatable({
    routes = routes, overview = overview(routes), patience = options.patience, connections_max = options.connections,
    connections = {}, count = 0, refused = 0, answered = {},
  }, Server)
  local listener, message, code = stream.listen(options.listen, function(accepted) on_stream(server, accepted) end)
  if not listener then return nil, message, code end
  server.listener, server.address = listener, listener.address
  return server
end

--- Stops listening, and closes what is open.
function Server:stop()
  self.closing = true
  self.listener:close()
  local open = {}
  for connection in pairs(self.connections) do open[#open + 1] = connection end
  for _, connection in ipairs(open) do close(connection) end
end

return M
