-- Metrics and health of this node over HTTP, for Prometheus and whatever asks whether a node does well.
--
--     GET /metrics   every metric, in Prometheus' text format
--     GET /health    200 while the node works, 503 once it gave up
--     GET /ready     200 while it serves in a cluster that has a leader, else 503 with the reason
--
-- There is no authentication and no TLS: listen where only those who may know can reach.

local core <const> = require "mycorrizal.core"
local exposition <const> = require "metrics.exposition"
local facts <const> = require "metrics.facts"
local server <const> = require "metrics.server"
local text <const> = require "mycorrizal.text"

local TEXT <const> = "text/plain; charset=utf-8"

local function check(options)
  if options.connections < 1 then return nil, "option connections is less than 1", "EINVAL" end
  for _, name in ipairs { "patience", "refresh" } do
    local ms, message, code = text.parse_duration(options[name])
    if not ms then return nil, ("option %s: %s"):format(name, message), code end
  end
  return true
end

local function health(node)
  local status, message = node:inspect("status")
  if not status then return 503, message .. "\n", TEXT end
  if status.failed then return 503, "the node gave up: see its log\n", TEXT end
  return 200, "ok\n", TEXT
end

local function ready(node)
  local status, message = node:inspect("status")
  local reason = not status and message or status.failed and "the node gave up: see its log"
    or not status.ready and "the node is not in a cluster yet" or not status.leader and "the cluster has no leader"
  if reason then return 503, reason .. "\n", TEXT end
  return 200, "ready\n", TEXT
end

return {
  name = "metrics",
  doc = "Metrics for Prometheus at /metrics; /health and /ready for those who watch over the node.",
  options = {
    listen = {
      type = "string", default = "127.0.0.1:7948", doc = "numeric HOST:PORT; port 0 is any free one, see the log",
    },
    connections = { type = "integer", default = 16, doc = "open at once; more are answered 503" },
    patience = {
      type = "string", default = "5s", doc = "for a request to come whole, and for its answer to be taken",
    },
    refresh = {
      type = "string", default = "1s", doc = "who asks again within it gets the same figures, so that asking is cheap",
    },
  },

  start = function(node, options)
    local ok, wrong, wrong_code = check(options)
    if not ok then return nil, wrong, wrong_code end
    local collect = facts.collector(node, options.refresh)
    local routes = {
      ["/health"] = function() return health(node) end,
      ["/ready"] = function() return ready(node) end,
    }
    local listening, message, code = server.start(options, routes)
    if not listening then return nil, message, code end
    routes["/metrics"] = function()
      local found, why = collect(listening)
      if not found then return 503, why .. "\n", TEXT end
      return 200, exposition.text(found), exposition.CONTENT_TYPE
    end
    core.note("metrics", ("listening on http://%s/metrics"):format(listening.address))
    return listening
  end,
}
