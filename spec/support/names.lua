-- A real name server for specs: dnsmasq on a free port of 127.0.0.1, with hosts that can be changed
-- while it runs, and services.

local helper <const> = require "spec.support.helper"
local dns <const> = require "mycorrizal.io.dns"
local uv <const> = require "luv"

local M <const> = {}

---@class spec.names
---@field address string
local Names <const> = {}
Names.__index = Names

-- dnsmasq wants a number: one that is free now in UDP and TCP.
local function free_port()
  for _ = 1, 32 do
    local udp, tcp = uv.new_udp(), uv.new_tcp()
    udp:bind("127.0.0.1", 0)
    local port = udp:getsockname().port
    local ok = tcp:bind("127.0.0.1", port) and tcp:listen(1, function() end)
    udp:close()
    tcp:close()
    if ok then return port end
  end
  error("no free port")
end

--- Writes what names stand for: { ["shop.internal"] = { "127.0.0.1" } }.
---@param hosts table<string, string[]>
function Names:set(hosts)
  local lines = {}
  for name, addresses in pairs(hosts) do
    for _, address in ipairs(addresses) do lines[#lines + 1] = address .. " " .. name .. "\n" end
  end
  helper.write(self.file, table.concat(lines))
  if self.process then self.process:kill("sighup") end
end

--- Starts it. services: { { "_x._tcp.shop.internal", "a.shop.internal", 7946, priority, weight }, … }
---@param folder string
---@param hosts table<string, string[]>
---@param services table[]?
---@return spec.names
function M.start(folder, hosts, services)
  local self = setmetatable({ file = folder .. "/hosts" }, Names)
  self:set(hosts)
  local port = free_port()
  self.address = "127.0.0.1:" .. port
  local argv = {
    "/usr/sbin/dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--port=" .. port,
    "--listen-address=127.0.0.1", "--bind-interfaces", "--no-resolv", "--no-hosts", "--addn-hosts=" .. self.file,
    "--user=", "--pid-file=",
    "--local=/internal/",
  }
  for _, service in ipairs(services or {}) do
    argv[#argv + 1] = "--srv-host=" .. table.concat(service, ",")
  end
  self.process = helper.spawn(argv, { log = folder .. "/dnsmasq.log" })
  helper.wait_until("the name server", 5, function()
    local _, _, code = dns.resolve("nobody.internal", "A", self.address)
    return code == "ENOTFOUND"
  end)
  return self
end

--- Ends it.
function Names:stop()
  self.process:kill("sigterm")
  self.process:wait_end()
end

return M
