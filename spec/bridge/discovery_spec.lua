-- Nodes that know of each other only by a source: what it would catch is a source that does not find,
-- that keeps what is gone, or that takes a node down.

local consul = require "spec.support.consul"
local core = require "mycorrizal.core"
local dns = require "mycorrizal.io.dns"
local helper = require "spec.support.helper"
local myco = require "mycorrizal"
local names = require "spec.support.names"
local task = require "mycorrizal.task"

describe("discovery", function()
  local folder, open

  before_each(function()
    folder, open = helper.new_folder(), {}
  end)

  after_each(function()
    for _, node in ipairs(open) do node:close() end
    helper.remove(folder)
  end)

  local function start(name, options)
    local given = { name = name, cluster = "shop", data = ("%s/%s.myco"):format(folder, name) }
    for key, value in pairs(options) do given[key] = value end
    local node = assert(myco.open(given))
    open[#open + 1] = node
    return node
  end

  local function close(node)
    for i, other in ipairs(open) do
      if other == node then table.remove(open, i) end
    end
    node:close()
  end

  local function port_of(node)
    return node.listen:match(":(%d+)$")
  end

  local function alive(node)
    local found = {}
    for _, member in ipairs(node:inspect("members")) do
      if member.state == "alive" then found[#found + 1] = member.name end
    end
    table.sort(found)
    return table.concat(found, " ")
  end

  local function await_alive(node, expected)
    helper.wait_until(node.name .. " to see " .. expected, 10, function() return alive(node) == expected end)
  end

  describe("by DNS", function()
    local server

    after_each(function()
      if server then server:stop() end
      server = nil
    end)

    it("gives every address of a name, and says when there is none", function()
      server = names.start(folder, { ["shop.internal"] = { "127.0.0.1", "127.0.0.2", "::1" } })
      local found = assert(dns.resolve("shop.internal", "A", server.address))
      table.sort(found)
      assert.same({ "127.0.0.1", "127.0.0.2" }, found)
      assert.same({ "0:0:0:0:0:0:0:1" }, dns.resolve("SHOP.internal.", "AAAA", server.address))
      local none, message, code = dns.resolve("other.internal", "A", server.address)
      assert.is_nil(none)
      assert.matches("there is no such name", message)
      assert.equal("ENOTFOUND", code)
    end)

    it("goes on over TCP when an answer was truncated", function()
      local services = {}
      for i = 1, 40 do
        local host = ("node-number-%d.of.shop.internal"):format(i)
        services[i] = { "_mycorrizal._tcp.shop.internal", host, 7000 + i, 5, i }
      end
      server = names.start(folder, {}, services)
      local found = assert(dns.resolve("_mycorrizal._tcp.shop.internal", "SRV", server.address))
      assert.equal(40, #found)
    end)

    it("joins by the system's resolver, with a name that stands in the way of none", function()
      local first = start("n1", { expect = 1 })
      assert(first:ready(10))
      local second = start("n2", { join = "localhost:" .. port_of(first) })
      assert(second:ready(10))
      await_alive(first, "n1 n2")
    end)

    it("finds a late node, and the others when the name changed while it runs", function()
      local first = start("n1", { expect = 1 })
      assert(first:ready(10))
      server = names.start(folder, {})
      local place = ("dns:shop.internal:%s?every=200ms&server=%s"):format(port_of(first), server.address)
      local second = start("n2", { join = place })
      helper.wait_until("a failure", 5, function()
        return second:inspect("metrics") and core.is_open(second.handle)
          and #second:inspect("discovery").candidates == 0
      end)
      assert.is_false(second:is_ready())
      server:set({ ["shop.internal"] = { "127.0.0.1" } })
      assert(second:ready(10))
      assert.same({ "127.0.0.1:" .. port_of(first) }, second:inspect("discovery").candidates)
      server:set({ ["shop.internal"] = { "127.0.0.9" } })
      helper.wait_until("the new candidate", 5, function()
        return second:inspect("discovery").candidates[1] == "127.0.0.9:" .. port_of(first)
      end)
      assert.equal(1, #second:inspect("discovery").candidates) -- the old one was replaced
      assert.equal("n1 n2", alive(second))                     -- and a member is no candidate
    end)

    it("takes host and port from SRV records", function()
      local first = start("n1", { expect = 1 })
      assert(first:ready(10))
      server = names.start(folder, { ["a.shop.internal"] = { "127.0.0.1" } }, {
        { "_mycorrizal._tcp.shop.internal", "gone.shop.internal", 7946, 1, 1 },
        { "_mycorrizal._tcp.shop.internal", "a.shop.internal", port_of(first), 5, 1 },
      })
      local second = start("n2", {
        join = { srv = "_mycorrizal._tcp.shop.internal", server = server.address, every = "200ms" },
      })
      assert(second:ready(10))
      await_alive(first, "n1 n2")
    end)
  end)

  it("by multicast finds the others on a network, and not those of another cluster", function()
    local place = ("multicast:239.7.9.46:%d?interface=127.0.0.1&every=300ms&wait=100"):format(math.random(20000, 60000))
    local nodes = {}
    local stranger = start("x1", { cluster = "other", join = place, expect = 1 })
    for i = 1, 3 do nodes[i] = start("n" .. i, { join = place, expect = 3 }) end
    for _, node in ipairs(nodes) do assert(node:ready(10)) end
    await_alive(nodes[1], "n1 n2 n3")
    assert.same({}, stranger:inspect("discovery").candidates)
  end)

  describe("by Consul", function()
    local agent

    after_each(function() agent:stop() end)

    it("registers, renews, finds and deregisters", function()
      agent = consul.start("s3cret")
      local token = helper.write(folder .. "/token", "s3cret\n")
      local place = {
        consul = { ("http://%s/shop"):format(agent.address), token_file = token, tag = "eu west" }, every = "300ms",
      }
      local nodes = {}
      for i = 1, 2 do nodes[i] = start("n" .. i, { join = place, expect = 2 }) end
      for _, node in ipairs(nodes) do assert(node:ready(10)) end
      assert.equal(2, agent:count())
      local service = agent.services["mycorrizal-" .. nodes[1].id]
      assert.equal("eu west", service.Tags[1])
      assert.equal("10s", service.Check.TTL)
      assert.equal(nodes[1].id, service.Meta.mycorrizal_id)
      agent.services = {} -- the agent was started anew
      helper.wait_until("both to register again", 5, function() return agent:count() == 2 end)
      close(nodes[2])
      assert.equal(1, agent:count())
    end)

    it("finds only those whose checks pass", function()
      agent = consul.start()
      agent.services.dead = { Name = "shop", Tags = {}, Address = "127.0.0.8", Port = 1, passing = false }
      agent.services.live = { Name = "shop", Tags = {}, Address = "127.0.0.9", Port = 2, passing = true }
      local node = start("n1", { expect = 1, join = ("consul:http://%s/shop?every=300ms"):format(agent.address) })
      helper.wait_until("the live one", 5, function() return node:inspect("discovery").candidates[1] end)
      assert.same({ "127.0.0.9:2" }, node:inspect("discovery").candidates)
    end)

    it("lives on when the agent refuses or is away", function()
      agent = consul.start("s3cret")
      local node = start("n1", { expect = 1, join = ("consul:http://%s/shop?every=200ms"):format(agent.address) })
      assert(node:ready(10))
      local out = helper.wait_until("the refusal", 5, function()
        local said = helper.pulse(node, { "discovery" }).out
        return said:find("403 Permission denied", 1, true) and said
      end)
      assert.matches("asks nobody", out)
      agent.token = nil
      helper.wait_until("the registration", 10, function() return agent:count() == 1 end)
    end)
  end)

  describe("by the object store", function()
    it("brings together nodes that know nothing else", function()
      local nodes = {}
      for i = 1, 3 do
        nodes[i] = start("n" .. i, { store = "file:" .. folder .. "/store", join = "store:?every=300ms", expect = 3 })
      end
      for _, node in ipairs(nodes) do assert(node:ready(10)) end
      await_alive(nodes[1], "n1 n2 n3")
      local late = start("n4", { store = "file:" .. folder .. "/store", join = { store = true } })
      assert(late:ready(10))
      await_alive(nodes[3], "n1 n2 n3 n4")
    end)

    it("removes what a node left behind, and its own when it leaves", function()
      local store = { store = "file:" .. folder .. "/store", join = "store:?every=200ms&stale=2", expect = 1 }
      local node = start("n1", store)
      assert(node:ready(10))
      local hash = node:inspect("discovery").name_hash
      local path = ("%s/store/discovery/%s/"):format(folder, hash)
      helper.wait_until("its object", 5, function() return io.open(path .. node.id) end):close()
      helper.write(path .. "00000000000000aa", '{"address":"127.0.0.9:9","every_ms":200}')
      helper.write(path .. "00000000000000ab", "garbage")
      helper.wait_until("the candidate", 5, function()
        return node:inspect("discovery").candidates[1] == "127.0.0.9:9"
      end)
      helper.wait_until("it to be removed", 5, function()
        local file = io.open(path .. "00000000000000aa")
        if file then file:close() end
        return not file
      end)
      helper.wait_until("no candidate", 5, function() return #node:inspect("discovery").candidates == 0 end)
      close(node)
      assert.is_nil((io.open(path .. node.id)))
    end)
  end)

  it("by a policy of one's own, which may compute for ever without harm", function()
    local first = start("n1", { expect = 1 })
    assert(first:ready(10))
    local file = helper.write(folder .. "/mine.lua", [[
      local asked = 0
      return {
        kind = "discovery", doc = "Mine.", options = { to = { type = "string", default = "", doc = "where" } },
        discover = function(world, options)
          asked = asked + 1
          if asked == 1 then while true do end end
          if asked == 2 then error("not today") end
          if asked == 3 then return { "shop" } end
          return { options.to }
        end,
        examples = { { given = { options = { to = "a" } }, expect = function() return true end } },
      }
    ]])
    local second = start("n2", {
      join = ("policy:%s?to=%s&every=200ms&timeout=300ms"):format(file, first.listen),
    })
    assert(second:ready(15))
    local report = require("mycorrizal.json").decode(helper.pulse(second, { "discovery", "--json" }).out)
    assert.equal("found", report.sources[1].status)
    assert.same({ first.listen }, report.sources[1].found)
  end)

  it("refuses to start with what can't work, and says why", function()
    local cases = {
      ["dns:x?colour=1"] = "has no option 'colour'", ["store:"] = "the option store is not set",
      ["weather:x"] = "is not HOST:PORT", ["policy:/no/such.lua"] = "No such file",
      ["dns:x?every=never"] = "no duration",
    }
    for place, reason in pairs(cases) do
      local data = ("%s/%s.myco"):format(folder, reason:sub(1, 4)) -- the one before is still being closed
      local node, message = myco.open { name = "n1", data = data, join = place }
      assert.is_nil(node)
      assert.matches(reason, message, 1, true)
    end
  end)

  it("never merges two clusters of one name", function()
    local nodes = {}
    for i = 1, 2 do
      nodes[i] = start("n" .. i, { expect = 1 })
      assert(nodes[i]:ready(10))
    end
    nodes[3] = start("n3", { join = nodes[1].listen })
    assert(nodes[3]:ready(10))
    local id = nodes[1]:inspect("discovery").cluster_id
    assert.not_equal(id, nodes[2]:inspect("discovery").cluster_id)
    core.join(nodes[2].handle, nodes[1].listen)
    core.join(nodes[3].handle, nodes[2].listen)
    local late = start("n4", { join = { nodes[1].listen, nodes[2].listen } })
    assert(late:ready(10))
    for _, node in ipairs { nodes[1], nodes[2], nodes[3] } do
      helper.wait_until(node.name .. " to say it", 5, function() return #node:inspect("discovery").foreign == 1 end)
    end
    task.sleep("300ms") -- what was refused must stay out
    local home = late:inspect("discovery").cluster_id == id and 1 or 2
    assert.equal(home == 1 and "n1 n3 n4" or "n1 n3", alive(nodes[1]))
    assert.equal(home == 2 and "n2 n4" or "n2", alive(nodes[2]))
    for _, metric in ipairs(nodes[2]:inspect("metrics")) do
      if metric.name == "mycorrizal_foreign_members_refused_total" then assert.is_true(metric.value > 0) end
    end
    assert.matches("another cluster of this name, kept out: id " .. id, helper.pulse(nodes[2], { "discovery" }).out)
    for i, node in ipairs(nodes) do -- both still work
      assert(assert(node.mycel:septum("s" .. i, { kind = "cache", hyphae = 2 })):put("k", "v"))
    end
  end)
end)
