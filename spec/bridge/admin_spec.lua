local client = require "pulse.client"
local frame = require "mycorrizal.io.frame"
local helper = require "spec.support.helper"
local stream = require "mycorrizal.io.stream"
local task = require "mycorrizal.task"
local uv = require "luv"

describe("the admin server", function()
  local folder, node

  setup(function()
    folder = helper.new_folder()
    node = helper.open_node(folder, { admin = "127.0.0.1:0" })
  end)

  teardown(function()
    node:close()
    helper.remove(folder)
  end)

  local function connect()
    local connected = assert(client.connect(node.socket))
    return setmetatable({}, { __index = connected, __close = function() connected:close() end })
  end

  it("listens on a socket that only its user may open, and on TCP", function()
    assert.equal(tonumber("600", 8), uv.fs_stat(node.socket).mode & 511)
    local connected = assert(client.connect(node.admin))
    assert.equal("here", assert(connected:request({ op = "hello" })).name)
    connected:close()
  end)

  it("evaluates expressions and statements, with what they printed", function()
    local connected <close> = connect()
    local printed = {}
    local reply = assert(connected:request({ op = "eval", code = "print('a', 1) return 1 + 1, {x = 1}" }, function(part)
      printed[#printed + 1] = part.out
    end))
    assert.equal("2\t{ x = 1 }", reply.text)
    assert.same({ "a\t1\n" }, printed)
    assert.equal("3", assert(connected:request({ op = "eval", code = "1 + 2" })).text)
  end)

  it("keeps what a session assigns to itself", function()
    local one <close> = connect()
    local two <close> = connect()
    assert(one:request({ op = "eval", code = "mine = 7" }))
    assert.equal("7", assert(one:request({ op = "eval", code = "mine" })).text)
    assert.equal("nil", assert(two:request({ op = "eval", code = "mine" })).text)
    assert.is_nil(rawget(_G, "mine"))
  end)

  it("lets an evaluation wait", function()
    local connected <close> = connect()
    local code = "local s = mycel:septum('evals', {kind = 'cache', hyphae = 2}) s:put('k', {1}) return s:get('k')"
    assert.matches("^{ 1 }", assert(connected:request({ op = "eval", code = code })).text)
  end)

  it("answers an error with its message", function()
    local connected <close> = connect()
    local reply, message, code = connected:request({ op = "eval", code = "error('boom')" })
    assert.is_nil(reply)
    assert.equal("pulse:1: boom", message)
    assert.equal("ELUA", code)
    local _, syntax = connected:request({ op = "eval", code = "1 +" })
    assert.matches("unexpected symbol", syntax)
  end)

  it("serves others while somebody's code loops, and ends it at its limit", function()
    local looping <close> = connect()
    local other <close> = connect()
    local runaway = task.spawn(function()
      return looping:request({ op = "eval", code = "_G.node.spec_loops = true while true do end", limit = 0.3 })
    end)
    helper.wait_until("the loop", 5, function()
      return assert(other:request({ op = "eval", code = "rawget(node, 'spec_loops')" })).text == "true"
    end)
    assert.equal("4", assert(other:request({ op = "eval", code = "2 + 2" })).text)
    local reply, message, code = runaway:join()
    assert.is_nil(reply)
    assert.matches("took too long", message)
    assert.equal("ETIMEDOUT", code)
  end)

  it("ends an evaluation that waits too long", function()
    local connected <close> = connect()
    local _, _, code = connected:request({ op = "eval", code = "task.sleep(60)", limit = 0.05 })
    assert.equal("ETIMEDOUT", code)
  end)

  it("ends what a client asked for when the client goes away", function()
    local connected <close> = connect()
    local asked = task.spawn(function()
      return connected:request({ op = "eval", code = "_G.node.spec_ended = false local _ <close> = setmetatable({}, "
        .. "{__close = function() _G.node.spec_ended = true end}) task.sleep(60)" })
    end)
    local other <close> = connect()
    local function ended(text)
      return assert(other:request({ op = "eval", code = "rawget(node, 'spec_ended')" })).text == text
    end
    helper.wait_until("the beginning", 5, function() return ended("false") end)
    connected:close()
    asked:join()
    helper.wait_until("the end", 5, function() return ended("true") end)
  end)

  it("does not let an evaluation end the node", function()
    local connected <close> = connect()
    local _, message = connected:request({ op = "eval", code = "os.exit(1)" })
    assert.matches("this would end the node", message)
  end)

  it("completes names that exist there", function()
    assert(node.mycel:septum("completed", { kind = "cache", hyphae = 2 }))
    local connected <close> = connect()
    local function complete(text) return assert(connected:request({ op = "complete", text = text })) end
    local septa = complete("1, mycel.comp")
    assert.same({ 10, { "completed" } }, { septa.start, septa.names })
    assert.same({ "nodosum" }, complete("nodos").names)
    assert.same({ "publish" }, complete("cytoplasm:pub").names)
    assert.same({}, complete("nothing.here.").names)
    assert.same({ "format" }, complete("string.form").names)
  end)

  it("answers garbage with an error and hangs up", function()
    local wrong = {
      "\0\0\0\4none", "\xff\xff\xff\xff", "GET / HTTP/1.1\r\n\r\n", (string.pack(">s4", "\x93\1\2\3")),
      assert(frame.encode({ op = "eval" })), assert(frame.encode({ id = "x", op = "eval" })),
      string.pack(">s4", "\x80\x80"),
    }
    for _, bytes in ipairs(wrong) do
      local raw = assert(stream.connect(node.socket))
      assert(raw:write(bytes))
      local reader = frame.reader()
      local answer = task.deadline(5, function()
        while true do
          local chunk = raw:read()
          if not chunk then return nil end
          reader:feed(chunk)
          local message = reader:next()
          if message then return message end
        end
      end)
      assert.is_string(answer and answer.error, ("%q"):format(bytes))
      assert.is_nil((task.deadline(5, raw.read, raw)))
      raw:close()
    end
  end)

  it("refuses requests it does not know, and stays", function()
    local connected <close> = connect()
    local _, _, code = connected:request({ op = "dance" })
    assert.equal("ENOTSUP", code)
    assert.equal("1", assert(connected:request({ op = "eval", code = "1" })).text)
  end)

  it("bounds connections", function()
    local many = {}
    for i = 1, 70 do many[i] = stream.connect(node.socket) end
    local function refused()
      local count = 0
      for i = 1, 70 do
        if many[i].ended or #many[i].unread > 0 then count = count + 1 end
      end
      return count
    end
    helper.wait_until("connections beyond the limit to be refused", 5, function() return refused() >= 6 end)
    for i = 1, 70 do many[i]:close() end
    helper.wait_until("room", 5, function()
      local connected = client.connect(node.socket)
      local reply = connected and connected:request({ op = "hello" })
      if connected then connected:close() end
      return reply
    end)
  end)

  it("is not offered to the world", function()
    local opened, message, code = require("mycorrizal").open {
      name = "open", data = folder .. "/open.myco", admin = "0.0.0.0:0",
    }
    assert.is_nil(opened)
    assert.matches("without authentication only loopback", message)
    assert.is_truthy(code)
  end)
end)
