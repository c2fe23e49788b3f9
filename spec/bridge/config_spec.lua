local helper = require "spec.support.helper"
local json = require "mycorrizal.json"
local task = require "mycorrizal.task"

describe("a configuration file", function()
  local folder

  setup(function() folder = helper.new_folder() end)
  teardown(function() helper.remove(folder) end)

  local function check(source)
    local path = helper.write(folder .. "/config.lua", source)
    local process = helper.spawn({ helper.build .. "/bin/mycorrizal", "check", "--config", path })
    local status = task.deadline(10, process.wait_end, process)
    return status, process.err
  end

  it("sets options by name, with lists and labels as tables", function()
    assert.equal(0, check [[
      return {
        name = env("NO_SUCH_THING", "api-1"), cluster = "shop", listen = "127.0.0.1:0", expect = 3,
        join = { "127.0.0.1:1", "127.0.0.1:2" }, labels = { zone = "a", rack = 7 }, timeout = "2s",
        septa = { carts = { kind = "durable", ttl = "30d" } }, policies = { placement = "zone-aware" },
      }
    ]])
  end)

  it("is refused with file and reason", function()
    local cases = {
      ["config.lua:2: unexpected symbol"] = "return {\n]", ["returns a number, not a table"] = "return 7",
      ["config.lua:1: the environment has no NO_SUCH_THING"] = "return { name = env 'NO_SUCH_THING' }",
      ["config.lua:1: .*nmae"] = "return { nmae = 'x' }",
      ["config.lua:1: septa: it is a string, not a table"] = "return { septa = 'x' }",
      ["config.lua:1: septa: it holds a function"] = "return { septa = { x = print or type } }",
      ["config.lua:1: name: it is a function"] = "return { name = type }",
      ["config.lua:3: .*expect"] = "return {\n-- expect = 3\nexpect = 'many' }",
      ["config.lua:4: septum s: .*brick"] = "return {\nseptum = 1,\nsepta = {\n['s'] = { kind = 'brick' } } }",
      ["config.lua:2: septum a b: the name"] = "return {\nsepta = { ['a b'] = {} } }",
      ["config.lua:2: septum s: .*hyphae"] = "return {\nsepta = { s = { hyphae = {} } } }",
    }
    for reason, source in pairs(cases) do
      local status, err = check(source)
      assert.not_equal(0, status)
      assert.matches(reason, err)
    end
  end)

  it("names places to look for others, as text or tables", function()
    local good = {
      [['10.0.0.1:7946, [fd00::1]:7946']], [[{ '10.0.0.1:7946', 'db1:7946' }]], [[{ dns = 'shop.internal' }]],
      [[{ dns = 'shop.internal', port = 7946, every = '10s' }]],
      [[{ { srv = '_m._tcp.shop' }, 'multicast:239.1.2.3:5' }]],
      [[{ consul = { 'http://127.0.0.1:8500/shop', tag = 'eu, west', token_file = '/t' } }]],
      [[{ policy = 'mine.lua', colour = 'red' }]], [[{ store = true }, store = 'file:x']],
    }
    for _, join in ipairs(good) do
      local status, err = check(("return { join = %s }"):format(join))
      assert.equal("", err)
      assert.equal(0, status)
    end
    local bad = {
      ["'10.0.0.1'"] = "'10.0.0.1' is not HOST:PORT", ["{ dsn = 'x' }"] = "config.lua:2: join: a place names none of",
      ["{ dns = 'x', srv = 'y' }"] = "both 'dns' and 'srv'", ["{ dns = 'a b' }"] = "is not dns:NAME",
      ["{ dns = 'x', color = 1 }"] = "dns: has no option 'color'; it has: every timeout port server",
      ["{ dns = print or type }"] = "it holds a function", ["'multicast:10.0.0.1:5'"] = "is not multicast:GROUP:PORT",
      ["'consul:https://x/y'"] = "TLS is not spoken here", ["{ store = true }"] = "the option store is not set",
      ["{ dns = 'x' }, no_lua = true"] = "is looked up by Lua, and no_lua is set", ["'dns:x:0'"] = "is not dns:NAME",
    }
    for join, reason in pairs(bad) do
      local status, err = check(("return {\njoin = %s }"):format(join))
      assert.not_equal(0, status)
      assert.truthy(err:find(reason, 1, true), err)
    end
  end)

  it("knows every option of the sources that come along", function()
    local addresses = {
      static = "h:1", dns = "x", srv = "x", multicast = "239.1.2.3:4", consul = "http://h:1/s", store = "",
    }
    for name, address in pairs(addresses) do
      local read = assert(require("mycorrizal.discovery.source").read(("%s:%s"):format(name, address)))
      for option in pairs(read.policy.options) do
        local place = ("%s:%s?%s=1"):format(name, address, option)
        local status, err = check(("return { join = '%s', store = 'file:x' }"):format(place))
        assert.equal("", err)
        assert.equal(0, status)
      end
    end
  end)

  it("has no way to files, programs or the loader", function()
    for _, name in ipairs { "io", "os", "require", "load", "dofile", "debug", "package" } do
      assert.equal(0, check(("assert(%s == nil) return {}"):format(name)))
    end
  end)

  it("is carried out by a node: options, septa, policies", function()
    local config = helper.write(folder .. "/node.lua", [[
      return {
        labels = { zone = "b" }, septa = { pages = { kind = "cache", hyphae = 2 } },
        policies = { persistence = "every-second" },
      }
    ]])
    local node = helper.start_node(folder, "--config", config)
    local function ask(...)
      return json.decode(helper.pulse(node, { ... }).out)
    end
    helper.wait_until("what was declared", 10, function()
      for _, policy in ipairs(ask("policy", "list", "--json")) do
        if policy.name == "every-second" then return true end
      end
    end)
    assert.equal("pages", ask("septa", "--json")[1].name)
    assert.equal("b", ask("nodes", "--json")[1].labels.zone)
    assert.equal(0, helper.stop_node(node))
  end)
end)
