-- The admin server: what pulse talks to. Requests and answers are frames (see frame.lua).
--
--     → {id, op = "hello"}                                 ← {id, done = true, version, name, cluster, node, …}
--     → {id, op = "eval", code, limit?}                    ← {id, out = text}…, {id, done = true, text, count}
--     → {id, op = "complete", text}                        ← {id, done = true, start, names}
--     → {id, op = "inspect", topic}                        ← {id, done = true, document}
--     → {id, op = "events", from?, follow?}                ← {id, events}…, {id, all = true}, {id, events}…
--     → {id, op = "command", name, args, flags}            ← {id, item}…, {id, done = true, result}
--     → {id, op = "load", septum, records}                 ← {id, done = true, stored}
--     → {id, op = "campaign", name}                        ← {id, duty}… until it is cancelled
--     → {id, op = "lock", name, permits?}                  ← {id, duty} until it is cancelled
--     → {id, op = "transfer", to}                          ← {id, done = true}
--     → {id, op = "cancel"}                                (ends the request of that id)
--     ← {id, error = message, code}                        instead of done
--
-- Without authentication it listens only where nobody but this machine's users can come: on
-- loopback addresses, and on a Unix socket that only the node's user may open. Garbage is answered
-- by an error, and the connection is closed.

local core <const> = require "mycorrizal.core"
local frame <const> = require "mycorrizal.io.frame"
local requests <const> = require "mycorrizal.requests"
local session <const> = require "mycorrizal.session"
local stream <const> = require "mycorrizal.io.stream"
local task <const> = require "mycorrizal.task"

local M <const> = {}

local CONNECTIONS_MAX <const> = 64
local REQUESTS_MAX <const> = 64       -- at once, of one connection
local QUEUED_MAX <const> = 32 << 20   -- bytes that a client does not read
local LIMIT_MAX_S <const> = 3600
local LIMIT_S <const> = 30

---@class myco.admin
---@field node myco.node
---@field listeners myco.listener[]
local Admin <const> = {}
Admin.__index = Admin

-- ── Answers ──

local function close(connection)
  if connection.closed then return end
  connection.closed = true
  connection.stream:close()
  connection.admin.connections[connection] = nil
  connection.admin.count = connection.admin.count - 1
  for _, running in pairs(connection.running) do running:cancel() end
end

local function answer(connection, id, message)
  message.id = id
  local bytes, why, code = frame.encode(message)
  if not bytes then bytes = frame.encode({ id = id, error = why, code = code }) end
  local queued = connection.stream:send(bytes)
  if not queued or queued > QUEUED_MAX then close(connection) end
end

local function fail(connection, id, message, code)
  answer(connection, id, { error = tostring(message), code = code or "ELUA" })
end

-- ── Requests ──

local function run(connection, request, handler)
  local reply, message, code = handler({
    node = connection.admin.node,
    session = connection.session,
    tell = function(part) answer(connection, request.id, part) end,
  }, request)
  if not reply then return fail(connection, request.id, message, code) end
  reply.done = true
  answer(connection, request.id, reply)
end

local function on_end(connection, id, running)
  connection.running[id] = nil
  connection.running_count = connection.running_count - 1
  if connection.closed then return end
  if running.status == "failed" then
    fail(connection, id, running.error, "ELUA")
  elseif running.status == "cancelled" then
    local timed_out = running.cancelled == "ETIMEDOUT"
    fail(connection, id, timed_out and "it took too long and was ended" or "cancelled", running.cancelled)
  end
end

-- They go on until the client ends them, or hangs up.
local ENDLESS <const> = { events = true, campaign = true, lock = true }
local FOR_EVER_S <const> = 10 * 365 * 86400

local function limit_of(request)
  if ENDLESS[request.op] and not request.limit then return FOR_EVER_S end
  local limit = type(request.limit) == "number" and request.limit or LIMIT_S
  return math.max(0.01, math.min(limit, LIMIT_MAX_S))
end

local function start(connection, request)
  local handler = requests[request.op]
  if not handler then
    return fail(connection, request.id, ("there is no request '%s'"):format(tostring(request.op)), "ENOTSUP")
  end
  if connection.running_count >= REQUESTS_MAX then
    return fail(connection, request.id, "too many requests at once", "EFULL")
  end
  local running = task.start_guarded(limit_of(request), run, connection, request, handler)
  running.joined = true -- its error is answered, not logged
  connection.running[request.id] = running
  connection.running_count = connection.running_count + 1
  running.on_end[#running.on_end + 1] = function() on_end(connection, request.id, running) end
end

local function dispatch(connection, request)
  local id = request.id
  if math.type(id) ~= "integer" then return nil, "a request without an id", "EPROTO" end
  if request.op == "cancel" then
    if connection.running[id] then connection.running[id]:cancel() end
  elseif connection.running[id] then
    return nil, "an id that is in use", "EPROTO"
  else
    start(connection, request)
  end
  return true
end

-- ── Connections ──

local function serve(connection)
  local reader = frame.reader()
  while not connection.closed do
    local bytes = connection.stream:read()
    if not bytes then break end
    reader:feed(bytes)
    local request, message, code = reader:next()
    while request do
      local ok
      ok, message, code = dispatch(connection, request)
      if not ok then break end
      request, message, code = reader:next()
    end
    if message then
      core.refused("a client of the admin server was refused: " .. message)
      fail(connection, 0, message, code)
      break
    end
  end
  close(connection)
end

local function on_stream(admin, accepted)
  local connection = { admin = admin, stream = accepted, running = {}, running_count = 0 }
  if admin.count >= CONNECTIONS_MAX or admin.closing then
    fail({ stream = accepted, admin = admin, running = {}, closed = true }, 0, "too many connections", "EFULL")
    return accepted:close()
  end
  admin.connections[connection] = true
  admin.count = admin.count + 1
  connection.session = session.new(admin.node)
  task.start(serve, connection)
end

local function is_private(address)
  return address.path or address.host:match("^127%.") or address.host == "::1"
end

--- Listens on these addresses (HOST:PORT or the path of a socket). Does not wait.
---@param node myco.node
---@param addresses string[]
---@return myco.admin?
---@return string? message
---@return string? code
function M.start(node, addresses)
  local admin = setmetatable({ node = node, listeners = {}, connections = {}, count = 0 }, Admin)
  for _, text in ipairs(addresses) do
    local address, message, code = stream.parse_address(text)
    local listener
    if address and not is_private(address) then
      message, code = (
        "admin address %s: without authentication only loopback addresses are served"):format(text), "EDENIED"
    elseif address then
      listener, message, code = stream.listen(text, function(accepted) on_stream(admin, accepted) end)
    end
    if not listener then
      admin:close()
      return nil, message, code
    end
    admin.listeners[#admin.listeners + 1] = listener
  end
  return admin
end

--- Closes listeners and connections, and cancels what they asked for.
function Admin:close()
  self.closing = true
  for _, listener in ipairs(self.listeners) do listener:close() end
  local open = {}
  for connection in pairs(self.connections) do open[#open + 1] = connection end
  for _, connection in ipairs(open) do close(connection) end
end

return M
