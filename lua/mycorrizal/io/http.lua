-- Asking servers over HTTP/1.1: one request for each connection, in the clear. What comes back is bounded.

local dns <const> = require "mycorrizal.io.dns"
local stream <const> = require "mycorrizal.io.stream"
local task <const> = require "mycorrizal.task"

local M <const> = {}

local HEAD_MAX <const> = 16 << 10
local BODY_MAX <const> = 1 << 20
local TIMEOUT <const> = "5s"

---@class myco.http.response
---@field status integer
---@field fields table<string, string> by their names in lower case
---@field body string

--- Host, port and target of an address.
---@param url string
---@return { host: string, port: integer, target: string, host_field: string }?
---@return string? message
---@return string? code
function M.parse_url(url)
  local authority, target = url:match("^http://([^/?#]+)([^#]*)$")
  if not authority then return nil, ("'%s' is not http://HOST:PORT/…"):format(url), "EINVAL" end
  local host, port = authority:match("^(.-):(%d+)$")
  host = (host or authority):gsub("^%[(.*)%]$", "%1")
  port = math.tointeger(tonumber(port or 80))
  if target:sub(1, 1) ~= "/" then target = "/" .. target end
  if host == "" or port < 1 or port > 65535 or url:find("[%c%s]") then
    return nil, ("'%s' is not http://HOST:PORT/…"):format(url), "EINVAL"
  end
  return { host = host, port = port, target = target, host_field = authority }
end

local function connect(address)
  local ip = address.host
  if not ip:match("^%d+%.%d+%.%d+%.%d+$") and not ip:find(":", 1, true) then
    local found, message, code = dns.resolve(ip, "A")
    if not found or not found[1] then return nil, message or ip .. ": no address", code or "ENOTFOUND" end
    ip = found[1]
  end
  return stream.connect((ip:find(":", 1, true) and "[%s]:%d" or "%s:%d"):format(ip, address.port))
end

-- ── Reading ── a reader is {stream, bytes}

local function more(reader)
  local bytes, message, code = reader.stream:read()
  if not bytes then return nil, message, code end
  reader.bytes = reader.bytes .. bytes
  return true
end

-- Up to and with `mark`, which must come within `limit` bytes.
local function read_until(reader, mark, limit)
  while true do
    local _, stop = reader.bytes:find(mark, 1, true)
    if stop and stop <= limit then
      local found = reader.bytes:sub(1, stop)
      reader.bytes = reader.bytes:sub(stop + 1)
      return found
    end
    if #reader.bytes >= limit then return nil, "its answer is too long", "ETOOBIG" end
    local ok, message, code = more(reader)
    if not ok then return nil, message, code end
  end
end

local function read_size(reader, size)
  if size > BODY_MAX then return nil, "its answer is too long", "ETOOBIG" end
  while #reader.bytes < size do
    local ok, message, code = more(reader)
    if not ok then return nil, message, code end
  end
  local found = reader.bytes:sub(1, size)
  reader.bytes = reader.bytes:sub(size + 1)
  return found
end

local function read_chunks(reader)
  local parts, total = {}, 0
  while true do
    local line, message, code = read_until(reader, "\r\n", 256)
    local size = line and tonumber(line:match("^%s*(%x+)"), 16)
    if not size then return nil, message or "a chunk has no size", code or "EPROTO" end
    if size == 0 then return table.concat(parts) end
    total = total + size
    if total > BODY_MAX then return nil, "its answer is too long", "ETOOBIG" end
    local chunk
    chunk, message, code = read_size(reader, size + 2)
    if not chunk then return nil, message, code end
    parts[#parts + 1] = chunk:sub(1, size)
  end
end

local function read_rest(reader)
  while #reader.bytes <= BODY_MAX do
    if not more(reader) then return reader.bytes end
  end
  return nil, "its answer is too long", "ETOOBIG"
end

local function read_response(reader)
  local head, message, code = read_until(reader, "\r\n\r\n", HEAD_MAX)
  if not head then return nil, message, code end
  local status = math.tointeger(tonumber(head:match("^HTTP/1%.%d (%d%d%d)")))
  if not status then return nil, "its answer is not HTTP", "EPROTO" end
  local response = { status = status, fields = {} }
  for name, value in head:gmatch("\n([^:\r\n]+):[ \t]*([^\r\n]-)[ \t]*\r") do response.fields[name:lower()] = value end
  local size = tonumber(response.fields["content-length"])
  if (response.fields["transfer-encoding"] or ""):lower() == "chunked" then
    response.body, message, code = read_chunks(reader)
  elseif size then
    response.body, message, code = read_size(reader, math.tointeger(size) or BODY_MAX + 1)
  elseif status == 204 or status == 304 then
    response.body = ""
  else
    response.body, message, code = read_rest(reader)
  end
  if not response.body then return nil, message, code end
  return response
end

-- ── Asking ──

local function exchange(method, address, body, fields)
  local connection <close>, message, code = connect(address)
  if not connection then return nil, message, code end
  local lines = { ("%s %s HTTP/1.1"):format(method, address.target), "Host: " .. address.host_field,
    "Connection: close", "User-Agent: mycorrizal" }
  if body then
    lines[#lines + 1] = "Content-Length: " .. #body
    lines[#lines + 1] = "Content-Type: application/json"
  end
  for name, value in pairs(fields or {}) do
    if (name .. value):find("[%c]") then return nil, "a header field has a control character", "EINVAL" end
    lines[#lines + 1] = name .. ": " .. value
  end
  local ok
  ok, message, code = connection:write(table.concat(lines, "\r\n") .. "\r\n\r\n" .. (body or ""))
  if not ok then return nil, message, code end
  return read_response({ stream = connection, bytes = "" })
end

--- Sends a request and waits for the response, 5 s at most.
---@param method string
---@param url string
---@param body string?
---@param fields table<string, string>? header fields
---@return myco.http.response?
---@return string? message
---@return string? code
function M.request(method, url, body, fields)
  local address, message, code = M.parse_url(url)
  if not address then return nil, message, code end
  local response
  response, message, code = task.deadline(TIMEOUT, exchange, method, address, body, fields)
  if not response then return nil, ("%s %s: %s"):format(method, url:gsub("%?.*", ""), message), code end
  return response
end

return M
