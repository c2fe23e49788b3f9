local helper = require "spec.support.helper"
local json = require "mycorrizal.json"
local task = require "mycorrizal.task"

describe("a command of pulse", function()
  local folder, node

  setup(function()
    folder = helper.new_folder()
    node = helper.start_node(folder)
    assert.equal(0, helper.pulse(node, { "septum", "create", "carts", "--hyphae", "4" }).status)
  end)

  teardown(function()
    assert.equal(0, helper.stop_node(node))
    helper.remove(folder)
  end)

  local function pulse(...)
    return helper.pulse(node, { ... })
  end

  local function ask(...)
    local words = { ... }
    words[#words + 1] = "--json"
    local ran = helper.pulse(node, words)
    assert.equal(0, ran.status, ran.err)
    return json.decode(ran.out)
  end

  it("tells the members", function()
    local members = ask("nodes")
    assert.equal(1, #members)
    assert.same({ "api-1", "alive", node.listen }, { members[1].name, members[1].state, members[1].addr })
    assert.matches("^NAME +ADDR +STATE", pulse("nodes").out)
  end)

  it("tells the leaders", function()
    for _, leader in ipairs(ask("leaders")) do
      if leader.subsystem == "mycel" then
        assert.equal("api-1", leader.leader)
        assert.equal("integer", math.type(leader.epoch))
        return
      end
    end
    error("mycel has no leader")
  end)

  it("tells septa, hyphae, status and metrics", function()
    assert.equal("carts", ask("septa")[1].name)
    assert.is_true(#ask("hyphae") >= 4)
    assert.is_true(ask("status").ready)
    assert.matches("# TYPE mycorrizal_puts_total counter\nmycorrizal_puts_total %d+\n", pulse("metrics").out)
  end)

  it("puts and gets, and writes nothing else", function()
    assert.same({ out = "", err = "", status = 0 }, pulse("put", "carts", "u:7", "hello"))
    assert.same({ out = "hello", err = "", status = 0 }, pulse("get", "carts", "u:7"))
    assert.equal("hello", ask("get", "carts", "u:7"))
  end)

  it("puts every byte of stdin and gets it unchanged", function()
    local all = {}
    for i = 0, 255 do all[#all + 1] = string.char(i) end
    local bytes = table.concat(all) .. "\n"
    assert.equal(0, helper.pulse(node, { "put", "carts", "bytes", "--file", "-" }, bytes).status)
    assert.equal(bytes, pulse("get", "carts", "bytes").out)
  end)

  it("puts a file", function()
    local path = helper.write(folder .. "/value", "of a file")
    assert.equal(0, pulse("put", "carts", "file", "--file=" .. path).status)
    assert.equal("of a file", pulse("get", "carts", "file").out)
    assert.matches("No such file", pulse("put", "carts", "file", "--file", "/nowhere").err)
  end)

  it("exits with 1 for a missing key, and says so on stderr", function()
    local ran = pulse("get", "carts", "nobody")
    assert.same({ 1, "" }, { ran.status, ran.out })
    assert.equal("pulse: carts has no key 'nobody'\n", ran.err)
    assert.equal(1, pulse("del", "carts", "nobody").status)
  end)

  it("exits with 2 when it fails, and says why", function()
    for expected, words in pairs {
      ENOTFOUND = { "get", "nothing", "k" }, ECONFLICT = { "put", "carts", "u:9", "x", "--if-version", "77" },
      ENORESPONDERS = { "request", "nobody", "x" }, EEXISTS = { "septum", "create", "carts", "--kind", "cache" },
    } do
      local ran = helper.pulse(node, words)
      assert.equal(2, ran.status)
      assert.matches(expected, ran.err)
    end
  end)

  it("puts only when it may", function()
    assert.equal(0, pulse("put", "carts", "cond", "1", "--if-absent").status)
    assert.equal(2, pulse("put", "carts", "cond", "2", "--if-absent").status)
    local version = ask("put", "carts", "cond", "3").version
    assert.equal(0, pulse("put", "carts", "cond", "4", "--if-version", tostring(version)).status)
  end)

  -- Would catch: a fence that is not passed on, or one that is none and ends in a traceback.
  it("shows an epoch, and refuses one that is over", function()
    assert.equal(0, pulse("put", "carts", "job", "1", "--fence", "import:7").status)
    local ran = pulse("put", "carts", "job", "2", "--fence", "import:6")
    assert.matches("epoch 6 of 'import' is over, 7 was seen", ran.err)
    assert.equal(0, pulse("pub", "jobs", "x", "--fence", "import:9").status)
    assert.matches("epoch 8 of 'import' is over, 9 was seen", pulse("pub", "jobs", "x", "--fence", "import:8").err)
    for _, word in ipairs { "import", "import:0", ":7", "import:x", "import:99999999999999999999" } do
      for _, line in ipairs { { "put", "carts", "job", "3" }, { "get", "carts", "job" }, { "pub", "jobs", "x" } } do
        line[#line + 1] = "--fence=" .. word
        ran = pulse(table.unpack(line))
        assert.matches("%-%-fence " .. word .. ": not NAME:EPOCH", ran.err)
        assert.equal(64, ran.status)
      end
    end
  end)

  it("puts for a time", function()
    assert.equal(0, pulse("put", "carts", "short", "x", "--ttl", "100ms").status)
    helper.wait_until("its end", 5, function() return pulse("get", "carts", "short").status == 1 end)
  end)

  it("deletes", function()
    assert.equal(0, pulse("put", "carts", "gone", "x").status)
    assert.equal(0, pulse("del", "carts", "gone").status)
    assert.equal(1, pulse("get", "carts", "gone").status)
  end)

  it("loads, counts and scans", function()
    assert.equal(
      0, pulse("septum", "create", "loaded", "--kind", "durable", "--hyphae", "4", "--replicas", "0").status)
    local lines = {}
    for i = 1, 1200 do lines[i] = json.encode(
      { key = ("k%04d"):format(i), value = i % 2 == 0 and "text" or { n = i } }) end
    local ran = helper.pulse(node, { "load", "loaded", "-" }, table.concat(lines, "\n"))
    assert.same({ "", "1200 records stored\n", 0 }, { ran.out, ran.err, ran.status })
    assert.equal("1200\n", pulse("count", "loaded").out)
    assert.equal("text", pulse("get", "loaded", "k0002").out)
    assert.equal('{"n":3}\n', pulse("get", "loaded", "k0003").out)
    local scanned = pulse("scan", "loaded", "k000", "--json").out
    assert.equal(9, select(2, scanned:gsub("\n", "")))
    assert.equal(5, select(2, pulse("scan", "loaded", "--limit", "5").out:gsub("\n", "")))
  end)

  it("says which line of a file is wrong", function()
    local ran = helper.pulse(node, { "load", "carts", "-" }, '{"key":"a","value":"b"}\n{"key":7}\n')
    assert.equal(2, ran.status)
    assert.matches('line 2 is not {"key"', ran.err)
  end)

  it("counts, appends, takes, and watches it", function()
    local watch = helper.spawn({
      helper.build .. "/bin/pulse", "--connect", node.socket, "watch", "carts", "n:", "--count", "4", "--timeout", "10",
    })
    helper.wait_until("the watch", 5, function() return watch.err:find("watching carts", 1, true) end)
    assert.equal("5\n", pulse("incr", "carts", "n:1", "--by", "5").out)
    assert.equal("4\n", pulse("incr", "carts", "n:1", "--by=-1").out)
    assert.equal("3\n", pulse("append", "carts", "n:2", "abc").out)
    assert.equal("4", pulse("take", "carts", "n:1").out)
    assert.equal(0, (task.deadline(10, watch.wait_end, watch)))
    assert.equal("put\tn:1\t5\nput\tn:1\t4\ndel\tn:1\t\n", (watch.out:gsub("put\tn:2\tabc\n", "")))
    assert.matches("put\tn:2\tabc\n", watch.out)
    assert.equal(1, pulse("take", "carts", "n:1").status)
    assert.equal("abc", pulse("touch", "carts", "n:2", "1h").out)
    assert.equal("1\n", pulse("count", "carts", "n:").out)
  end)

  it("publishes, and writes what comes", function()
    local sub = helper.spawn({
      helper.build .. "/bin/pulse", "--connect", node.socket, "sub", "orders.*", "--count", "2", "--timeout", "10",
    })
    helper.wait_until("the subscription", 5, function() return sub.err:find("subscribed to orders.*", 1, true) end)
    assert.equal(0, pulse("pub", "orders.1", "first").status)
    assert.equal(0, pulse("pub", "orders.2", "second").status)
    assert.equal(0, (task.deadline(10, sub.wait_end, sub)))
    assert.equal("first\nsecond\n", sub.out)
  end)

  it("exits with 1 when fewer messages came in time", function()
    local ran = pulse("sub", "nothing.comes", "--count", "1", "--timeout", "100ms")
    assert.equal(1, ran.status)
    assert.matches("fewer than 1 messages within 0.1 s", ran.err)
  end)

  it("checks, applies, shows and takes back a policy", function()
    local path = "lua/mycorrizal/policy/persistence/every-second.lua"
    assert.matches("^persistence/every%-second: ", pulse("policy", "check", path).out)
    assert.matches("is in force, version %d", pulse("policy", "apply", path).out)
    local file <close> = assert(io.open(path))
    assert.equal(file:read("a"), pulse("policy", "show", "persistence").out)
    assert.equal(0, pulse("policy", "rollback", "persistence").status)
    for _, policy in ipairs(ask("policy", "list")) do
      if policy.kind == "persistence" and policy.in_force then assert.equal("steady", policy.name) end
    end
  end)

  it("tries a placement, and says what it would move", function()
    local path = "lua/mycorrizal/policy/placement/rendezvous.lua"
    for _, change in ipairs(ask("policy", "try", path)) do
      assert.same({ 0, 0 }, { change.moved, change.primaries }) -- one node holds everything, and goes on to
    end
    assert.equal(2, pulse("policy", "try", "lua/mycorrizal/policy/voters/odd.lua").status)
  end)

  it("refuses a wrong policy with the reason", function()
    local path = helper.write(folder .. "/wrong.lua", "return { kind = 'placement', doc = 'x', place = 7 }")
    local ran = pulse("policy", "apply", path)
    assert.equal(2, ran.status)
    assert.matches("policy placement/wrong: has no function 'place'", ran.err)
  end)

  it("exits with 64 for a wrong command line, and with 3 without a node", function()
    assert.equal(64, pulse("frob").status)
    assert.equal(64, pulse("get", "carts").status)
    assert.equal(64, pulse("--frob").status)
    local ran = helper.pulse({ socket = folder .. "/no.sock" }, { "nodes" })
    assert.equal(3, ran.status)
    assert.matches("there is no such socket", ran.err)
  end)

  it("explains itself without a node", function()
    local nowhere = { socket = folder .. "/no.sock" }
    assert.matches("usage: pulse get SEPTUM KEY", helper.pulse(nowhere, { "get", "--help" }).out)
    assert.matches("policy rollback", helper.pulse(nowhere, { "--help" }).out)
    assert.equal("pulse 0.1.0\n", helper.pulse(nowhere, { "--version" }).out)
  end)
end)

describe("pulse without --connect", function()
  local folder, node

  setup(function()
    folder = helper.new_folder()
    node = helper.start_node(folder)
  end)

  teardown(function()
    helper.stop_node(node)
    helper.remove(folder)
  end)

  local function run(environment)
    local line = ("cd %s && %s %s/bin/pulse status --json"):format(folder, environment, helper.build)
    local process = helper.spawn({ "/bin/sh", "-c", line })
    return { status = task.deadline(10, process.wait_end, process), out = process.out, err = process.err }
  end

  it("finds the only node below the folder", function()
    local ran = run("")
    assert.equal(0, ran.status, ran.err)
    assert.equal("api-1", json.decode(ran.out).name)
  end)

  it("takes the environment's", function()
    assert.equal(0, run("PULSE_CONNECT=" .. node.admin).status)
    local ran = run("PULSE_CONNECT=/nowhere/x.sock")
    assert.equal(3, ran.status)
    assert.matches("/nowhere/x.sock", ran.err)
  end)
end)
