-- Catches: an exposition that Prometheus refuses, figures of another node or septum, and a server
-- that garbage, slow clients or too many of them bring to an end.

package.path = package.path:find("./modules/?.lua", 1, true) and package.path
  or "./modules/?.lua;./modules/?/init.lua;" .. package.path -- for the module's own files

local client = require "pulse.client"
local exposition = require "metrics.exposition"
local helper = require "spec.support.helper"
local http = require "metrics.http"
local prometheus = require "spec.support.prometheus"
local stream = require "mycorrizal.io.stream"
local task = require "mycorrizal.task"

local parse <const>, value_of <const> = prometheus.parse, prometheus.value

-- ── Asking ──

-- Everything that comes until the server closes the connection.
local function read_all(connection)
  local parts = {}
  task.deadline("5s", function()
    for bytes in function() return connection:read() end do parts[#parts + 1] = bytes end
  end)
  return table.concat(parts)
end

local function exchange(address, bytes)
  local connection <close> = assert(stream.connect(address))
  connection:write(bytes)
  return read_all(connection)
end

local function get(address, path, method)
  local line = ("%s %s HTTP/1.1\r\n"):format(method or "GET", path)
  local answer = exchange(address, line .. "Host: x\r\nConnection: close\r\n\r\n")
  local status, head, body = answer:match("^HTTP/1%.1 (%d%d%d) [^\r\n]+(\r\n.-\r\n)\r\n(.*)$")
  return { status = tonumber(status), head = head, body = body }
end

-- Where a node's metrics module listens; nil when it does not.
local function address_of(node)
  local connected = assert(client.connect(node.socket))
  local code = "local m = node.modules.metrics return m.handle and m.handle.address or m.error"
  local address = helper.wait_until("metrics", 5, function()
    local text = assert(connected:request({ op = "eval", code = code })).text
    return text ~= "nil" and text:gsub('^"(.*)"$', "%1")
  end)
  connected:close()
  return address
end

local function open(folder, options, name)
  return helper.open_node(folder, {
    name = name, data = ("%s/%s.myco"):format(folder, name or "here"), cluster = 'a "b\\c',
    config = ('return { modules = { { "metrics", listen = "127.0.0.1:0", %s } } }'):format(options or ""),
  })
end

describe("the metrics module", function()
  local folder, node, address

  setup(function()
    folder = helper.new_folder()
    node = open(folder)
    address = address_of(node)
  end)

  teardown(function()
    node:close()
    helper.remove(folder)
  end)

  it("answers with an exposition that can be parsed, of every metric that the node has", function()
    local answer = get(address, "/metrics")
    assert.equal(200, answer.status)
    assert.matches("\r\nContent%-Type: text/plain; version=0%.0%.4; charset=utf%-8\r\n", answer.head)
    assert.matches("\r\nContent%-Length: " .. #answer.body .. "\r\n", answer.head)
    local families = parse(answer.body)
    for _, metric in ipairs(node:inspect("metrics")) do
      assert.equal(metric.kind, families[metric.name].kind)
      assert.is_number(value_of(families, metric.name))
    end
    assert.equal(1, value_of(families, "mycorrizal_info", { name = "here", cluster = 'a "b\\c' }))
    assert.equal(1, value_of(families, "mycorrizal_ready"))
    assert.equal(3, value_of(families, "mycorrizal_leaderships"))
    assert.equal(1, value_of(families, "mycorrizal_leadership_held", { subsystem = "mycel" }))
    assert.equal(node.hypha:status().term, value_of(families, "mycorrizal_consensus_term"))
    assert.is_true(value_of(families, "process_resident_memory_bytes") > 1 << 20)
  end)

  it("counts the keys of each septum", function()
    local carts = assert(node.mycel:septum("carts", { kind = "durable", hyphae = 4 }))
    local pages = assert(node.mycel:septum("pages", { kind = "cache", hyphae = 4 }))
    for i = 1, 20 do assert(carts:put("c" .. i, "v")) end
    for i = 1, 5 do assert(pages:put("p" .. i, "v")) end
    helper.wait_until("the figures", 5, function()
      local families = parse(get(address, "/metrics").body)
      return value_of(families, "mycorrizal_septum_keys", { septum = "carts", role = "primary" }) == 20
        and value_of(families, "mycorrizal_septum_keys", { septum = "pages", role = "primary" }) == 5
        and value_of(families, "mycorrizal_septum_hyphae", { septum = "carts", role = "primary" }) == 4
        and value_of(families, "mycorrizal_septum_hyphae_without_primary", { septum = "carts" }) == 0
        and value_of(families, "mycorrizal_septum_unpersisted_records", { septum = "carts" }) >= 20
    end)
  end)

  it("answers HEAD with the same head and no body", function()
    local answer = get(address, "/metrics", "HEAD")
    assert.equal(200, answer.status)
    assert.matches("\r\nContent%-Length: %d%d%d%d+\r\n", answer.head)
    assert.equal("", answer.body)
  end)

  it("answers 404 with what there is, and 405 with what is allowed", function()
    assert.same({ 404, "there is: /health, /metrics, /ready\n" },
      { get(address, "/nothing").status, get(address, "/nothing").body })
    local answer = get(address, "/metrics", "DELETE")
    assert.equal(405, answer.status)
    assert.matches("\r\nAllow: GET, HEAD\r\n", answer.head)
  end)

  it("says that the node does well", function()
    assert.same({ 200, "ok\n" }, { get(address, "/health").status, get(address, "/health?verbose=1").body })
    assert.same({ 200, "ready\n" }, { get(address, "/ready").status, get(address, "http://x/ready").body })
  end)

  it("says that a node is not ready which waits for another", function()
    local lonely <close> = assert(require("mycorrizal").open {
      name = "lonely", data = folder .. "/lonely.myco", expect = 2, join = { "127.0.0.1:1" },
      config = 'return { modules = { { "metrics", listen = "127.0.0.1:0" } } }',
    })
    local where = address_of(lonely)
    local answer = get(where, "/ready")
    assert.equal(503, answer.status)
    assert.equal("the node is not in a cluster yet\n", answer.body)
    assert.equal(200, get(where, "/health").status)
    assert.equal(0, value_of(parse(get(where, "/metrics").body), "mycorrizal_ready"))
  end)

  it("leaves a node running whose address is taken", function()
    local config = ('return { modules = { { "metrics", listen = "%s" } } }'):format(address)
    local second <close> = helper.open_node(folder, { name = "second", data = folder .. "/2.myco", config = config })
    assert.matches("the address is in use", address_of(second))
  end)

  it("refuses options that make no sense, and runs nothing", function()
    for options, expected in pairs {
      ["connections = 0"] = "less than 1", ["patience = 'soon'"] = "'soon' is no duration",
      ["listen = 'somewhere'"] = "neither HOST:PORT",
    } do
      local odd <close> = open(folder, options, "odd")
      assert.is_truthy(address_of(odd):find(expected, 1, true))
    end
  end)

  describe("keeps a connection", function()
    local GET <const> = "GET /health HTTP/1.1\r\nHost: x\r\n\r\n"

    local function read_answer(connection)
      local bytes = ""
      while not bytes:match("\r\n\r\nok\n$") do
        bytes = bytes .. assert(task.deadline("2s", connection.read, connection))
      end
      return bytes
    end

    it("for the next request, that may come in pieces", function()
      local connection <close> = assert(stream.connect(address))
      for _ = 1, 3 do
        for piece in GET:gmatch("..?.?.?.?.?.?") do
          connection:write(piece)
          task.yield()
        end
        assert.matches("^HTTP/1%.1 200 OK\r\n.*\r\nConnection: keep%-alive\r\n", read_answer(connection))
      end
    end)

    it("for requests that are sent at once", function()
      local last = "GET /ready HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
      local answers = exchange(address, GET .. GET .. GET .. last)
      local _, count = answers:gsub("HTTP/1%.1 200 OK", "")
      assert.equal(4, count)
    end)

    it("not with HTTP/1.0, and not after a body", function()
      assert.matches("^HTTP/1%.1 200 .*ok\n$", exchange(address, "GET /health HTTP/1.0\r\n\r\n"))
      local answer = exchange(address, "POST /health HTTP/1.1\r\nHost: x\r\nContent-Length: 30\r\n\r\n" .. GET)
      assert.matches("^HTTP/1%.1 405 ", answer)
      assert.is_nil(answer:find("200 OK", 1, true))
    end)
  end)

  describe("refuses", function()
    for what, bytes in pairs {
      ["the first bytes of TLS"] = "\22\3\1\2\0\1\0\1\252\3\3",
      ["lines that end with LF alone"] = "GET / HTTP/1.1\n\n",
      ["a line with too few words"] = "GET /metrics\r\n\r\n",
      ["a line with too many words"] = "GET /metrics and more HTTP/1.1\r\n\r\n",
      ["no host"] = "GET /metrics HTTP/1.1\r\n\r\n",
      ["two hosts"] = "GET /metrics HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
      ["a field without a colon"] = "GET /metrics HTTP/1.1\r\nHost: x\r\nnonsense\r\n\r\n",
      ["a field with a space before its colon"] = "GET /metrics HTTP/1.1\r\nHost : x\r\n\r\n",
      ["a folded field"] = "GET /metrics HTTP/1.1\r\nHost: x\r\n y\r\n\r\n",
      ["a zero byte in a field"] = "GET /metrics HTTP/1.1\r\nHost: x\0y\r\n\r\n",
      ["a zero byte in the target"] = "GET /\0 HTTP/1.1\r\nHost: x\r\n\r\n",
      ["words"] = "Hello, are you there?\r\n\r\n",
    } do
      it(what, function()
        assert.matches("^HTTP/1%.1 400 Bad Request\r\n", exchange(address, bytes))
        assert.equal(200, get(address, "/health").status)
      end)
    end

    it("another version", function()
      assert.matches("^HTTP/1%.1 505 ", exchange(address, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"))
    end)

    it("a head that is too long, as soon as it is", function()
      for _, bytes in ipairs {
        "GET /" .. ("x"):rep(9000), "GET / HTTP/1.1\r\n" .. ("a: b\r\n"):rep(5000) .. "\r\n",
        "GET / HTTP/1.1\r\nHost: " .. ("x"):rep(9000) .. "\r\n\r\n",
      } do
        assert.matches("^HTTP/1%.1 431 ", exchange(address, bytes))
      end
    end)

    it("and reads for a moment what still comes, for else the answer might be lost", function()
      local connection <close> = assert(stream.connect(address))
      connection:write("GET /" .. ("x"):rep(9000))
      assert.matches("^HTTP/1%.1 431 ", read_all(connection))
      for _ = 1, 3 do
        assert(connection:write("more"))
        task.sleep("20ms")
      end
    end)

    it("random bytes, a thousand times, without an end of the node", function()
      math.randomseed(7)
      local alphabet = {
        "GET ", "/metrics", " HTTP/1.1", "\r\n", "\r\n\r\n", ":", " ", "\0", "\255", "Host: x", "{", "%",
      }
      for _ = 1, 1000 do
        local parts = {}
        for i = 1, math.random(12) do parts[i] = alphabet[math.random(#alphabet)] end
        local bytes = table.concat(parts)
        local status = http.refusal(bytes)
        if not status and bytes:find("\r\n\r\n", 1, true) then
          local request, refused = http.parse(bytes:match("^.-\r\n\r\n"))
          assert.is_truthy(request or refused == 400 or refused == 505)
        end
      end
      for _ = 1, 30 do
        local parts = {}
        for i = 1, math.random(400) do parts[i] = string.char(math.random(0, 255)) end
        local connection <close> = assert(stream.connect(address))
        connection:write(table.concat(parts))
      end
      assert.equal(200, get(address, "/health").status)
    end)
  end)

  describe("with little patience and two connections", function()
    local hasty, where

    setup(function()
      hasty = open(folder, "connections = 2, patience = '100ms', refresh = '0ms'", "hasty")
      where = address_of(hasty)
    end)

    teardown(function() hasty:close() end)

    local function wait_for_free()
      helper.wait_until("a free connection", 5, function() return get(where, "/health").status == 200 end)
    end

    it("answers 408 to who does not finish a request, and nothing to who says nothing", function()
      wait_for_free()
      assert.matches("^HTTP/1%.1 408 ", exchange(where, "GET /metrics HTTP/1.1\r\nHos"))
      wait_for_free()
      assert.equal("", exchange(where, ""))
    end)

    it("is patient between requests", function()
      wait_for_free()
      local connection <close> = assert(stream.connect(where))
      for _ = 1, 2 do
        assert(connection:write("GET /health HTTP/1.1\r\nHost: x\r\n\r\n"))
        assert.matches("^HTTP/1%.1 200", assert(connection:read()))
        task.sleep("200ms")
      end
    end)

    it("answers 503 to one too many, and serves again when there is room", function()
      wait_for_free()
      -- Asks once, and keeps its connection. The one before may still be closing.
      local function idle()
        return helper.wait_until("an answer", 5, function()
          local connection = assert(stream.connect(where))
          connection:write("GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
          if (connection:read() or ""):find("^HTTP/1%.1 200") then return connection end
          connection:close()
        end)
      end
      local one <close> = idle()
      local two <close> = idle()
      assert.equal(503, get(where, "/health").status)
      one:close()
      two:close()
      wait_for_free()
      local families = parse(get(where, "/metrics").body)
      assert.is_true(value_of(families, "mycorrizal_metrics_connections_refused_total") >= 1)
      assert.is_true(value_of(families, "mycorrizal_metrics_responses_total", { code = "503" }) >= 1)
    end)
  end)
end)

describe("an exposition", function()
  local function facts(changes)
    local all = {
      metrics = {}, leaders = {}, septa = {}, hyphae = {}, resident_bytes = 1, lua_bytes = 1,
      status = { name = "n", cluster = "c", id = "1", version = "0", ready = true, uptime_ms = 1500 },
      server = { count = 1, refused = 0, answered = {} },
    }
    for name, value in pairs(changes) do all[name] = value end
    return all
  end

  it("escapes what is in names and help", function()
    local families = parse(exposition.text(facts {
      metrics = { { name = "m", kind = "gauge", help = "two\nlines \\ and a slash", value = -1 } },
      septa = { { name = 'a"b\\c\nd', replicas = 0, kind = "cache" }, { name = "\255", replicas = 0, kind = "cache" } },
    }))
    assert.equal("two\\nlines \\\\ and a slash", families.m.help)
    assert.equal(2.0 ^ 64, value_of(families, "m"))
    assert.equal(0, value_of(families, "mycorrizal_septum_keys", { septum = 'a"b\\c\nd' }))
    assert.equal(0, value_of(families, "mycorrizal_septum_keys", { septum = "\\xff" }))
    assert.equal(1.5, value_of(families, "mycorrizal_uptime_seconds"))
  end)

  it("counts hyphae that lack copies or a primary, and copies by their role", function()
    local function hypha(fields)
      fields.septum, fields.in_sync = "s", fields.in_sync or { "a", "b" }
      return fields
    end
    local families = parse(exposition.text(facts {
      septa = { { name = "s", replicas = 1, kind = "durable" } },
      hyphae = {
        hypha { primary = "a", primary_here = true, keys = 3, offset = 10, persisted = 4 },
        hypha { primary = "b", primary_here = false, keys = 5, offset = 10, persisted = 0 },
        hypha { primary = "b", primary_here = false, in_sync = { "b" } },
        hypha { primary_here = false },
      },
    }))
    local function of(name, role) return value_of(families, "mycorrizal_septum_" .. name, { role = role }) end
    assert.same({ 3, 5 }, { of("keys", "primary"), of("keys", "backup") })
    assert.same({ 1, 1 }, { of("hyphae", "primary"), of("hyphae", "backup") })
    assert.same({ 1, 1, 6 }, { of("hyphae_without_primary"), of("hyphae_under_replicated"), of("unpersisted_records") })
  end)
end)
