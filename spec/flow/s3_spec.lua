-- A node that persists to a real S3 server, through a proxy that does what networks and busy stores do. Would
-- catch: data that the manifest does not name, an upload that gives up or is done twice wrongly, bytes that came
-- damaged and are believed, a clock that is off and stops everything.

local helper = require "spec.support.helper"
local json = require "mycorrizal.json"
local s3_module = require "spec.support.s3"

local RECORDS <const> = 300

describe("persistence to S3", function()
  local why_not = s3_module.why_not()
  local s3, folder

  setup(function()
    if not why_not then s3 = s3_module.start() end
  end)
  teardown(function()
    if s3 then s3:stop() end
  end)
  before_each(function() folder = helper.new_folder() end)
  after_each(function() helper.remove(folder) end)

  local function start(prefix, program, more)
    return helper.start_program(program or helper.build .. "/bin/mycorrizal", folder, "--store",
      s3:url(prefix) .. (more or ""))
  end

  local function records()
    local lines = {}
    for i = 1, RECORDS do
      lines[i] = json.encode { key = ("key-%03d"):format(i), value = ("value %d "):format(i):rep(20) }
    end
    return table.concat(lines, "\n") .. "\n"
  end

  local function wait_persisted(node)
    return helper.wait_until("all to be persisted", 30, function()
      local shown = helper.pulse(node, { "hyphae", "--json" })
      if shown.status ~= 0 then return false end
      for _, hypha in ipairs(json.decode(shown.out)) do
        if hypha.persisted ~= hypha.offset then return false end
      end
      return true
    end)
  end

  --- Writes, waits for the store, loses the node and its disk, and reads all back from the store.
  local function survives(prefix, fault, program, more)
    s3.fault, s3.counts = fault, {}
    local node = start(prefix, program, more)
    assert.equal(0, helper.pulse(node,
      { "policy", "apply", "scripts/examples/persistence-1s.lua" }).status)
    assert.equal(0, helper.pulse(node, { "septum", "create", "things", "--kind", "durable", "--hyphae", "8" }).status)
    local loaded = helper.pulse(node, { "load", "things", "-" }, records())
    assert.equal(0, loaded.status, loaded.err)
    local before = helper.pulse(node, { "scan", "things", "--json" }).out
    wait_persisted(node)
    node.process:kill("sigkill")
    node.process:wait_end()
    helper.remove(folder .. "/api-1.myco")

    local again = start(prefix, program, more)
    helper.wait_until("all to be back", 30, function()
      local count = helper.pulse(again, { "count", "things" })
      return count.status == 0 and tonumber(count.out) == RECORDS
    end)
    assert.equal(before, helper.pulse(again, { "scan", "things", "--json" }).out)
    assert.equal(0, helper.stop_node(again))
  end

  --- As `it`, where a server can be started; else the reason is printed.
  local function s3_it(what, fn)
    it(what, function()
      if why_not then return pending(why_not) end
      fn()
    end)
  end

  --- Every third request, but never one twice: what is asked again must succeed in the end.
  local function every_third(fault)
    local turn = 0
    return function()
      turn = turn + 1
      return turn % 3 == 0 and fault or nil
    end
  end

  s3_it("brings everything back after node and disk are gone", function()
    survives("plain", function() end)
  end)

  s3_it("does so by libs3, when told that there is one writer", function()
    local url = s3:url("v2") .. "&signature=v2"
    local refused = helper.spawn { helper.build .. "/bin/mycorrizal", "run", "--data", folder .. "/n", "--store", url }
    refused:wait_end()
    assert.matches("single_writer=yes", refused.err)
    survives("v2", function() end, nil, "&signature=v2&single_writer=yes")
  end)

  for name, fault in pairs { busy = "busy", ["lost after the request was carried out"] = "lost",
    slow = "slow", damaged = "damaged" } do
    s3_it("goes on while answers are " .. name, function()
      survives(fault, every_third(fault))
      assert.is_true((s3.counts[fault] or 0) > 0, "the fault never happened")
    end)
  end

  s3_it("corrects a clock that is two hours off", function()
    local library = io.popen("ls /usr/lib/*/faketime/libfaketime.so.1 2>/dev/null"):read()
    if not library then return pending("libfaketime is not installed: run scripts/setup") end
    local program = helper.write(folder .. "/program", ("#!/bin/sh\nexec env LD_PRELOAD=%s FAKETIME=+2h "
      .. "FAKETIME_DONT_FAKE_MONOTONIC=1 %s/bin/mycorrizal \"$@\"\n"):format(library, helper.build))
    assert(os.execute("chmod +x " .. program))
    survives("skewed", function() end, program)
    local log <close> = assert(io.open(folder .. "/api-1.log"))
    assert.matches("the clocks of this node and of S3 differ", log:read("a"))
  end)

  s3_it("goes on without the store, and catches up when it is back", function()
    s3.fault, s3.counts = function() end, {}
    local node = start("away")
    assert.equal(0, helper.pulse(node,
      { "policy", "apply", "scripts/examples/persistence-1s.lua" }).status)
    assert.equal(0, helper.pulse(node, { "septum", "create", "things", "--kind", "durable", "--hyphae", "8" }).status)
    s3.fault = function() return "busy" end
    local loaded = helper.pulse(node, { "load", "things", "-" }, records())
    assert.equal(0, loaded.status, loaded.err)
    helper.wait_until("the store to be asked in vain", 20, function() return (s3.counts.busy or 0) >= 3 end)
    assert.equal(RECORDS, tonumber(helper.pulse(node, { "count", "things" }).out))
    helper.wait_until("the event", 20, function()
      return helper.pulse(node, { "events", "--kind", "store.away" }).out:find("is away", 1, true)
    end)
    assert.is_truthy(helper.pulse(node, { "metrics" }).out:match("mycorrizal_store_behind_bytes [1-9]"))
    s3.fault = function() end
    wait_persisted(node)
    assert.matches("answers again", helper.pulse(node, { "events", "--kind", "store.back" }).out)
    assert.equal(0, helper.stop_node(node))
  end)
end)
