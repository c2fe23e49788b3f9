-- As much of a Consul agent as discovery talks to, by its HTTP API: services are registered with a
-- check, which passes until it is failed here; /v1/health lists those that pass. With a token it
-- refuses those who don't show it.

local json <const> = require "mycorrizal.json"
local stream <const> = require "mycorrizal.io.stream"
local task <const> = require "mycorrizal.task"

local M <const> = {}

---@class spec.consul
---@field address string
---@field services table<string, table> by id
---@field asked string[] "METHOD PATH", in order
local Consul <const> = {}
Consul.__index = Consul

local function register(self, body)
  local service = json.decode(body)
  if type(service) ~= "table" or type(service.Name) ~= "string" then return 400, "Invalid service" end
  self.services[service.ID or service.Name] = service
  service.passing = service.Check.Status == "passing"
  return 200, ""
end

local function pass(self, check)
  local service = self.services[check:match("^service:(.*)$")]
  if not service then return 404, ('Unknown check ID "%s"'):format(check) end
  service.passing = true
  return 200, ""
end

local function list(self, name, query)
  local out = {}
  for id, service in pairs(self.services) do
    local tag = query:match("tag=([^&]*)")
    tag = tag and tag:gsub("%%(%x%x)", function(code) return string.char(tonumber(code, 16)) end)
    local fits = service.Name == name and (service.passing or not query:find("passing"))
    if fits and (not tag or service.Tags[1] == tag) then
      out[#out + 1] = {
        Node = { Node = "agent", Address = "127.0.0.1" },
        Service = { ID = id, Service = name, Tags = service.Tags, Address = service.Address, Port = service.Port,
          Meta = service.Meta },
      }
    end
  end
  return 200, json.encode(out)
end

local function answer(self, method, path, query, head, body)
  self.asked[#self.asked + 1] = method .. " " .. path
  if self.token and head:match("X%-Consul%-Token: ([^\r]*)") ~= self.token then return 403, "Permission denied" end
  if method == "PUT" and path == "/v1/agent/service/register" then return register(self, body) end
  local check = path:match("^/v1/agent/check/pass/(.+)$")
  if method == "PUT" and check then return pass(self, check) end
  local id = path:match("^/v1/agent/service/deregister/(.+)$")
  if method == "PUT" and id then
    if not self.services[id] then return 404, "Unknown service ID" end
    self.services[id] = nil
    return 200, ""
  end
  local name = path:match("^/v1/health/service/(.+)$")
  if method == "GET" and name then return list(self, name, query) end
  return 404, "no such path"
end

-- Its answers come in chunks, as those of the agent may.
local function serve(self, connection)
  local bytes = ""
  while true do
    local head, rest = bytes:match("^(.-\r\n\r\n)(.*)$")
    local size = head and tonumber(head:match("Content%-Length: (%d+)") or 0)
    if head and #rest >= size then
      local method, target = head:match("^(%u+) (%S+)")
      local path, query = target:match("^([^?]*)%??(.*)$")
      local status, body = answer(self, method, path, query, head, rest)
      local half = #body // 2
      connection:write(("HTTP/1.1 %d X\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"):format(status))
      for _, piece in ipairs { body:sub(1, half), body:sub(half + 1) } do
        if piece ~= "" then connection:write(("%x\r\n%s\r\n"):format(#piece, piece)) end
      end
      connection:write("0\r\n\r\n")
      break
    end
    local more = connection:read()
    if not more then break end
    bytes = bytes .. more
  end
  connection:close()
end

--- Starts one.
---@param token string?
---@return spec.consul
function M.start(token)
  local self = setmetatable({ services = {}, asked = {}, token = token }, Consul)
  self.listener = assert(stream.listen("127.0.0.1:0", function(connection) task.start(serve, self, connection) end))
  self.address = self.listener.address
  return self
end

--- How many services are registered.
---@return integer
function Consul:count()
  local count = 0
  for _ in pairs(self.services) do count = count + 1 end
  return count
end

--- Stops listening.
function Consul:stop()
  self.listener:close()
end

return M
