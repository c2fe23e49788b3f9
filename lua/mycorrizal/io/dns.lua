-- Looking up names: addresses by the system, or by asking a name server; services always so.
--
--     query over UDP, from a port and with an id that are random
--       no answer, or a failure -> the next server, twice round
--       truncated               -> the same over TCP

local dns <const> = require "mycorrizal.dns"
local stream <const> = require "mycorrizal.io.stream"
local task <const> = require "mycorrizal.task"
local udp <const> = require "mycorrizal.io.udp"
local uv <const> = require "luv"

local M <const> = {}

local PORT <const> = 53
local SERVERS_MAX <const> = 3
local ROUNDS <const> = 2
local PATIENCE <const> = "2s"    -- with one server
local GARBAGE_MAX <const> = 32   -- datagrams that are not the answer

-- ── By the system ──

local FAMILIES <const> = { A = "inet", AAAA = "inet6" }

local function by_system(name, kind)
  local failed, found = task.await(function(callback)
    return uv.getaddrinfo(name, nil, { socktype = "stream", family = FAMILIES[kind] }, function(message, addresses)
      callback(message or false, addresses)
    end)
  end)
  if failed == nil or failed then return nil, ("%s: %s"):format(name, failed or found), "ENOTFOUND" end
  local out, seen = {}, {}
  for _, item in ipairs(found) do
    if not seen[item.addr] then out[#out + 1] = item.addr end
    seen[item.addr] = true
  end
  return out
end

-- ── By a name server ──

--- The name servers of a file like /etc/resolv.conf, as ADDRESS:PORT.
---@param path string?
---@return string[]
function M.servers(path)
  local found = {}
  local file <close> = io.open(path or "/etc/resolv.conf", "rb")
  for line in file and file:lines() or function() end do
    local ip = line:match("^%s*nameserver%s+([%x.:]+)%s*$")
    if ip and #found < SERVERS_MAX then
      found[#found + 1] = (ip:find(":", 1, true) and "[%s]:%d" or "%s:%d"):format(ip, PORT)
    end
  end
  if #found == 0 then found[1] = "127.0.0.1:" .. PORT end
  return found
end

-- Is it the answer to this question?
local function matching(bytes, question)
  local answer = dns.decode(bytes)
  if not answer or answer.id ~= question.id or answer.type ~= question.type then return nil end
  return answer.name == question.name and answer or nil
end

local function read_exactly(connection, bytes, size)
  while #bytes < size do
    local more, message, code = connection:read()
    if not more then return nil, message, code end
    bytes = bytes .. more
  end
  return bytes
end

local function over_tcp(server, question)
  local connection <close>, message, code = stream.connect(server)
  if not connection then return nil, message, code end
  connection:write(string.pack(">s2", question.bytes))
  local bytes
  bytes, message, code = read_exactly(connection, "", 2)
  if not bytes then return nil, message, code end
  local size = string.unpack(">I2", bytes)
  bytes, message, code = read_exactly(connection, bytes, 2 + size)
  if not bytes then return nil, message, code end
  local answer = matching(bytes:sub(3, 2 + size), question)
  if not answer then return nil, "its answer is none", "EPROTO" end
  return answer
end

local function over_udp(server, question)
  local any = server:sub(1, 1) == "[" and "[::]:0" or "0.0.0.0:0"
  local socket <close>, message, code = udp.open({ bind = any })
  if not socket then return nil, message, code end
  local sent
  sent, message, code = socket:send(question.bytes, server)
  if not sent then return nil, message, code end
  for _ = 1, GARBAGE_MAX do
    local bytes, from, failed = socket:receive(PATIENCE)
    if not bytes then return nil, from, failed end
    local answer = from == server and matching(bytes, question)
    if answer then return answer end
  end
  return nil, "too many datagrams that are not its answer", "EPROTO"
end

local function ask(server, question)
  local answer, message, code = task.deadline(PATIENCE, over_udp, server, question)
  if answer and answer.truncated then
    answer, message, code = task.deadline(PATIENCE, over_tcp, server, question)
  end
  if answer and answer.code ~= 0 and answer.code ~= 3 then
    return nil, dns.CODES[answer.code] or ("code %d"):format(answer.code), "EIO"
  end
  return answer, message, code
end

local function new_question(name, kind)
  local id = string.unpack("I2", assert(uv.random(2)))
  local bytes, message, code = dns.query(id, name, kind)
  if not bytes then return nil, message, code end
  return { id = id, bytes = bytes, type = kind, name = name:gsub("%.$", ""):lower() }
end

local function by_servers(name, kind, servers)
  local message, code
  for _ = 1, ROUNDS do
    for _, server in ipairs(servers) do
      local question, wrong, why = new_question(name, kind)
      if not question then return nil, wrong, why end
      local answer
      answer, message, code = ask(server, question)
      if answer and answer.code == 3 then return nil, ("%s: there is no such name"):format(name), "ENOTFOUND" end
      if answer then return dns.pick(answer, kind) end
      message = ("%s %s, asked of %s: %s"):format(name, kind, server, message)
    end
  end
  return nil, message, code
end

--- Looks a name up: addresses for A and AAAA, {priority, weight, port, target} for SRV.
---@param name string
---@param kind "A"|"AAAA"|"SRV"
---@param server string? ADDRESS:PORT of a name server; else the system's
---@return table[]|string[]?
---@return string? message
---@return string? code
function M.resolve(name, kind, server)
  if not dns.TYPES[kind] or kind == "CNAME" then error("resolve: the type is A, AAAA or SRV", 2) end
  if server == "" then server = nil end
  if kind ~= "SRV" and not server then return by_system(name, kind) end
  local records, message, code = by_servers(name, kind, server and { server } or M.servers())
  if not records then return nil, message, code end
  local out = {}
  for i, record in ipairs(records) do out[i] = kind == "SRV" and record or record.address end
  return out
end

return M
