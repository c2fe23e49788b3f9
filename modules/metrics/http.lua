-- The grammar of HTTP/1.1 requests and responses, as far as asking for figures needs it. It will go
-- when the control plane brings libwebsockets, which then serves these pages too.

local M <const> = {}

M.HEAD_SIZE_MAX = 8 << 10

local REASONS <const> = {
  [200] = "OK", [400] = "Bad Request", [404] = "Not Found", [405] = "Method Not Allowed", [408] = "Request Timeout",
  [431] = "Request Header Fields Too Large", [500] = "Internal Server Error", [503] = "Service Unavailable",
  [505] = "HTTP Version Not Supported",
}
local TOKEN <const> = "[!#$%%&'*+%-.^_`|~%w]+"
local REQUEST_LINE <const> = "^(" .. TOKEN .. ") ([\33-\126]+) HTTP/(%d)%.(%d)$"
local FIELD <const> = "^(" .. TOKEN .. "):[ \t]*(.-)[ \t]*$"

---@class metrics.request
---@field method string
---@field path string without a query
---@field fields table<string, string> by their names in lower case
---@field keeps boolean the connection may be used again

-- The path of "/path?query" and of "http://host/path".
local function path_of(target)
  local path = target:gsub("^%a[%w+.-]*://[^/?]*", ""):match("^[^?#]*")
  return path == "" and "/" or path
end

local function read_fields(lines)
  local fields = {}
  for line in lines:gmatch("(.-)\r\n") do
    if line == "" then break end
    local name, value = line:match(FIELD)
    if not name or value:find("[%z\1-\8\10-\31\127]") then return nil, "a header field is none" end
    name = name:lower()
    if fields[name] and (name == "host" or name == "content-length") then return nil, name .. " is there twice" end
    fields[name] = fields[name] and fields[name] .. ", " .. value or value
  end
  return fields
end

-- A connection is used again unless somebody says no, or the request has a body: it is not read.
local function keeps(fields, minor)
  if fields["transfer-encoding"] or (fields["content-length"] or "0") ~= "0" then return false end
  local wish = (fields.connection or ""):lower()
  if wish:find("close", 1, true) then return false end
  return minor ~= "0" or wish:find("keep-alive", 1, true) ~= nil
end

--- Reads the head of a request, up to and with its empty line.
---@param head string
---@return metrics.request?
---@return integer? status that refuses it
---@return string? reason
function M.parse(head)
  local line, lines = head:match("^(.-)\r\n(.*)$")
  local method, target, major, minor = (line or ""):match(REQUEST_LINE)
  if not method then return nil, 400, "the request line is not METHOD TARGET HTTP/1.1" end
  if major ~= "1" then return nil, 505, "this speaks HTTP/1.1" end
  local fields, reason = read_fields(lines)
  if not fields then return nil, 400, reason end
  if not fields.host and minor ~= "0" then return nil, 400, "there is no host field" end
  return { method = method, path = path_of(target), fields = fields, keeps = keeps(fields, minor) }
end

--- What is wrong with a head that has not come whole, as soon as that can be seen: who speaks
--- another protocol shall not wait.
---@param bytes string
---@return integer? status
---@return string? reason
function M.refusal(bytes)
  if #bytes > M.HEAD_SIZE_MAX then return 431, ("a request's head has at most %d bytes"):format(M.HEAD_SIZE_MAX) end
  if bytes:match("^[^\n]*"):find("[^\32-\126\r]") then return 400, "this is not HTTP" end
  if bytes:find("[^\r]\n") or bytes:find("^\n") then return 400, "lines end with CR and LF" end
end

---@class metrics.response
---@field status integer
---@field body string
---@field content_type string?
---@field allow string? the methods, with 405

--- The bytes of a response.
---@param response metrics.response
---@param keep boolean
---@param head_only boolean
---@return string
function M.response(response, keep, head_only)
  local lines = {
    ("HTTP/1.1 %d %s"):format(response.status, REASONS[response.status]),
    os.date("!Date: %a, %d %b %Y %H:%M:%S GMT"),
    "Content-Type: " .. (response.content_type or "text/plain; charset=utf-8"),
    "Content-Length: " .. #response.body,
    "Cache-Control: no-store",
    "Connection: " .. (keep and "keep-alive" or "close"),
  }
  if response.allow then lines[#lines + 1] = "Allow: " .. response.allow end
  return table.concat(lines, "\r\n") .. "\r\n\r\n" .. (head_only and "" or response.body)
end

return M
