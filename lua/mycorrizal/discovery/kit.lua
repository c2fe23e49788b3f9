-- The kit: what a discovery policy may do to the world outside. Sockets that a run left open are
-- closed at its end; everything has a time-out and a bound.

local core <const> = require "mycorrizal.core"
local dns <const> = require "mycorrizal.io.dns"
local http <const> = require "mycorrizal.io.http"
local json <const> = require "mycorrizal.json"
local loop <const> = require "mycorrizal.io.loop"
local task <const> = require "mycorrizal.task"
local udp <const> = require "mycorrizal.io.udp"

local M <const> = {}

local SOCKETS_MAX <const> = 16
local FILE_MAX <const> = 64 << 10

local function join(ip, port)
  return (ip:find(":", 1, true) and "[%s]:%d" or "%s:%d"):format(ip, port)
end

--- ADDRESS:PORT of a name, or of an address that is one already. It fails when the name has neither
--- an A nor an AAAA record.
---@param resolve fun(name: string, kind: string, server: string?): string[]?, string?, string?
---@param name string
---@param port integer
---@param server string?
---@return string[]?
---@return string? message
---@return string? code
function M.addresses(resolve, name, port, server)
  local plain = name:gsub("^%[(.*)%]$", "%1")
  if plain:match("^%d+%.%d+%.%d+%.%d+$") or plain:find(":", 1, true) then return { join(plain, port) } end
  local found, message, code = {}, nil, nil
  for _, kind in ipairs { "A", "AAAA" } do
    local list, why, failed = resolve(name, kind, server)
    for _, ip in ipairs(list or {}) do found[#found + 1] = join(ip, port) end
    if not list and (not code or code == "ENOTFOUND") then message, code = why, failed end
  end
  if #found == 0 and code then return nil, message, code end
  return found
end

-- What is open is closed when the kit is.
local function open_socket(kit, options)
  if #kit.opened >= SOCKETS_MAX then return nil, "too many sockets", "EFULL" end
  local socket, message, code = udp.open(options)
  if not socket then return nil, message, code end
  kit.opened[#kit.opened + 1] = socket
  return socket
end

local function read_file(path)
  local file <close>, message = io.open(path, "rb")
  if not file then return nil, message, "ENOTFOUND" end
  return file:read(FILE_MAX) or ""
end

---@class myco.discovery.kit
---@field resolve fun(name: string, kind: "A"|"AAAA"|"SRV", server: string?): table[]?, string?, string?
---@field addresses fun(name: string, port: integer, server: string?): string[]?, string?, string?
---@field udp fun(options: table): myco.udp?, string?, string?
---@field http_get fun(url: string, fields: table?): myco.http.response?, string?, string?
---@field http_put fun(url: string, body: string?, fields: table?): myco.http.response?, string?, string?
---@field store { list: function, get: function, put: function, del: function } below discovery/ of the node's store
---@field read_file fun(path: string): string?, string?, string?
---@field sleep fun(duration: number|string)
---@field now_ms fun(): number of a clock that never goes back
---@field time fun(): integer seconds since 1970
---@field log fun(sentence: string)
---@field json table encode, decode

--- A kit; close it when the run is over.
---@param name string of the source, for its log
---@return myco.discovery.kit
function M.new(name)
  local kit = { opened = {}, json = json, now_ms = loop.now_ms, time = os.time, sleep = task.sleep }
  kit.resolve = dns.resolve
  kit.addresses = function(host, port, server) return M.addresses(dns.resolve, host, port, server) end
  kit.udp = function(options) return open_socket(kit, options) end
  kit.http_get = function(url, fields) return http.request("GET", url, nil, fields) end
  kit.http_put = function(url, body, fields) return http.request("PUT", url, body or "", fields) end
  kit.read_file = read_file
  kit.log = function(sentence) core.note("discovery", ("%s: %s"):format(name, sentence)) end
  kit.store = {
    list = function(prefix) return task.await(core.store_list, prefix or "") end,
    get = function(key) return task.await(core.store_get, key) end,
    put = function(key, bytes) return task.await(core.store_put, key, bytes) end,
    del = function(key) return task.await(core.store_del, key) end,
  }
  return setmetatable(kit, { __close = function()
    for _, socket in ipairs(kit.opened) do socket:close() end
  end })
end

return M
