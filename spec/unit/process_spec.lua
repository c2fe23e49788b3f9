local helper = require "spec.support.helper"
local process = require "mycorrizal.io.process"

describe("a process", function()
  it("gets its input, and its output and status are known", function()
    local before = helper.open_handles()
    local cat = assert(process.spawn({ "/bin/sh", "-c", "cat; echo oops >&2; exit 3" }, { input = "hello" }))
    assert.equal(3, cat:wait_end())
    assert.same({ "hello", "oops\n" }, { cat.out, cat.err })
    assert.same({}, helper.new_handles(before))
  end)

  it("is ended by a signal", function()
    local sleep = assert(process.spawn({ "/bin/sleep", "60" }))
    sleep:kill("sigkill")
    assert.equal(137, sleep:wait_end())
    sleep:kill("sigkill")
  end)

  it("is refused when there is no such program", function()
    local before = helper.open_handles()
    local none, message = process.spawn({ "/nowhere/program" })
    assert.is_nil(none)
    assert.matches("/nowhere/program: ENOENT", message)
    assert.same({}, helper.new_handles(before))
  end)
end)
