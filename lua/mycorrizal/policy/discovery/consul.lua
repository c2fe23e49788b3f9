-- A Consul agent (HTTP API v1): this node registers itself with a check that it has to renew, and
-- asks for those whose checks pass.
--
--     PUT /v1/agent/service/register                    at the first run, and when the agent forgot it
--     PUT /v1/agent/check/pass/service:ID               each run
--     GET /v1/health/service/SERVICE?passing=1          each run
--     PUT /v1/agent/service/deregister/ID               when the node closes

local function fields_of(kit, options)
  if options.token_file == "" then return {} end
  local token, message, code = kit.read_file(options.token_file)
  if not token then return nil, "token_file: " .. message, code end
  return { ["X-Consul-Token"] = token:match("^%s*(.-)%s*$") }
end

local function split(world)
  return world.address:match("^(http://[^/]+)/(.+)$")
end

local function service_id(world)
  return "mycorrizal-" .. world.own.id
end

local function put(kit, url, body, fields)
  local response, message, code = kit.http_put(url, body, fields)
  if not response then return nil, message, code end
  if response.status == 200 then return true end
  return nil, ("%s: %d %s"):format(url:gsub("^http://[^/]+", ""), response.status, response.body:sub(1, 120)),
    response.status == 403 and "EDENIED" or response.status == 404 and "ENOTFOUND" or "EIO"
end

local function own_address(world, options)
  local address = options.address ~= "" and options.address or world.own.address
  local host, port = address:match("^%[?(.-)%]?:(%d+)$")
  return host, math.tointeger(tonumber(port))
end

-- The check outlives three missed runs; the agent forgets a node that stays away for much longer.
local function register(world, options, base, service, fields)
  local host, port = own_address(world, options)
  local seconds = math.ceil(math.max(10, world.every_ms * 3 / 1000))
  return put(world.kit, base .. "/v1/agent/service/register", world.kit.json.encode({
    ID = service_id(world), Name = service, Address = host, Port = port,
    Tags = options.tag ~= "" and { options.tag } or {},
    Meta = { mycorrizal_cluster = world.own.cluster, mycorrizal_id = world.own.id },
    Check = {
      TTL = seconds .. "s", Status = "passing", DeregisterCriticalServiceAfter = math.max(60, seconds * 10) .. "s",
    },
  }), fields)
end

-- An agent that was started anew, or gave up on this node, does not know its check.
local function renew(world, options, base, service, fields)
  local ok, message, code = put(
    world.kit, ("%s/v1/agent/check/pass/service:%s"):format(base, service_id(world)), "", fields)
  if ok or code == "EDENIED" then return ok, message, code end
  return register(world, options, base, service, fields)
end

local function query(service, options)
  local words = { ("/v1/health/service/%s?passing=1"):format(service) }
  for _, name in ipairs { "dc", "tag" } do
    local value = options[name]:gsub("[^%w._~-]", function(char) return ("%%%02X"):format(char:byte()) end)
    if value ~= "" then words[#words + 1] = name .. "=" .. value end
  end
  return table.concat(words, "&")
end

-- The address of one item of the answer; nil when it is of another cluster, or says none.
local function read(item, world)
  local service, node = item.Service, item.Node
  if type(service) ~= "table" then return nil end
  local meta = type(service.Meta) == "table" and service.Meta or {}
  if meta.mycorrizal_cluster and meta.mycorrizal_cluster ~= world.own.cluster then return nil end
  local host = service.Address
  if (host == nil or host == "") and type(node) == "table" then host = node.Address end
  local port = math.tointeger(service.Port)
  if type(host) ~= "string" or host == "" or not port or port < 1 then return nil end
  return { host = host, port = port, id = meta.mycorrizal_id }
end

local function addresses(items, world)
  local found = {}
  for i = 1, math.min(#items, 64) do
    local said = type(items[i]) == "table" and read(items[i], world)
    for _, address in ipairs(said and world.kit.addresses(said.host, said.port) or {}) do
      found[#found + 1] = { address = address, id = said.id }
    end
  end
  return found
end

return {
  kind = "discovery",
  doc = "http://AGENT:8500/SERVICE: registers this node with Consul, and finds the others whose checks pass.",
  options = {
    address = { type = "string", default = "", doc = "HOST:PORT to register; empty: where peers reach this node" },
    dc = { type = "string", default = "", doc = "data centre; empty: the agent's own" },
    tag = { type = "string", default = "", doc = "to register with, and to ask for" },
    token_file = { type = "string", default = "", doc = "file that holds the ACL token" },
  },

  discover = function(world, options)
    local base, service = split(world)
    local fields, message, code = fields_of(world.kit, options)
    if not fields then return nil, message, code end
    local ok
    ok, message, code = renew(world, options, base, service, fields)
    if not ok then return nil, message, code end
    local response
    response, message, code = world.kit.http_get(base .. query(service, options), fields)
    if not response then return nil, message, code end
    local items = response.status == 200 and world.kit.json.decode(response.body)
    if type(items) ~= "table" then
      return nil, ("/v1/health/service: %d %s"):format(response.status, response.body:sub(1, 120)), "EIO"
    end
    return addresses(items, world)
  end,

  leave = function(world, options)
    local base = split(world)
    local fields = fields_of(world.kit, options) or {}
    return put(world.kit, ("%s/v1/agent/service/deregister/%s"):format(base, service_id(world)), "", fields)
  end,

  examples = {
    {
      given = {
        address = "http://127.0.0.1:8500/shop", every_ms = 30000,
        own = { id = "0a", cluster = "c0", address = "10.0.0.1:7946" },
        answers = {
          ["http_put http://127.0.0.1:8500/v1/agent/check/pass/service:mycorrizal-0a"] = { status = 200, body = "" },
          ["http_get http://127.0.0.1:8500/v1/health/service/shop?passing=1"] = {
            status = 200,
            body = '[{"Node":{"Address":"10.0.0.2"},"Service":{"Address":"","Port":7946,'
              .. '"Meta":{"mycorrizal_id":"0b"}}},'
              .. '{"Service":{"Address":"10.0.0.9","Port":7946,"Meta":{"mycorrizal_cluster":"other"}}}]',
          },
        },
      },
      expect = { { address = "10.0.0.2:7946", id = "0b" } },
    },
  },
}
