-- Catches: a module that is started with options it does not have, a wrong name that is ignored, a
-- failing module that takes its node along, and one that is not stopped.

local client = require "pulse.client"
local helper = require "spec.support.helper"
local module = require "mycorrizal.module"
local modules = require "mycorrizal.modules"
local myco = require "mycorrizal"

describe("a module", function()
  local folder

  before_each(function() folder = helper.new_folder() end)
  after_each(function() helper.remove(folder) end)

  -- Writes a module, and gives the word by which a configuration names it.
  local function write(name, source)
    require("luv").fs_mkdir(folder .. "/" .. name, 493)
    helper.write(("%s/%s/init.lua"):format(folder, name), source)
    return folder .. "/" .. name
  end

  local function open(declared)
    return helper.open_node(folder, { config = "return { modules = " .. declared .. " }" })
  end

  local function eval(node, code)
    local connected = assert(client.connect(node.socket))
    local reply, message = connected:request({ op = "eval", code = code })
    connected:close()
    return ((reply or error(message)).text:gsub('^"(.*)"$', "%1"))
  end

  local function wait_for(node, name, status)
    helper.wait_until(("%s: %s"):format(name, status), 5, function()
      return eval(node, ("node.modules.%s.status"):format(name)) == status
    end)
  end

  local PLAIN <const> = [[return { name = "plain", doc = "Does nothing.",
    options = {
      word = { type = "string", default = "yes", doc = "a word" },
      count = { type = "integer", default = 3, doc = "how many" },
      often = { type = "number", default = 0.5, doc = "how often" },
      loud = { type = "boolean", default = false, doc = "how loud" },
    },
    start = function(node, options) return { options = options, stop = function() end } end,
  }]]

  describe("is read from its folder and", function()
    it("comes with mycorrizal", function()
      assert.is_truthy((" " .. table.concat(module.available(), " ") .. " "):find(" metrics ", 1, true))
      assert.equal("metrics", assert(module.load("metrics")).name)
    end)

    it("gets its options, and the defaults of the others", function()
      local kind = assert(module.load(write("plain", PLAIN)))
      assert.same({ word = "no", count = 3, often = 2, loud = true },
        module.settle(kind, { word = "no", often = 2, loud = true }))
    end)

    it("is refused by a clear sentence when there is none of that name", function()
      for _, word in ipairs { "metric", "../metrics", "", "metrics.nothing", folder .. "/nothing" } do
        local _, message, code = module.load(word)
        assert.equal(
          ("there is no module '%s'; there are: %s"):format(word, table.concat(module.available(), ", ")), message)
        assert.equal("ENOTFOUND", code)
      end
    end)

    it("is refused with options that it does not have, or of another type", function()
      local kind = assert(module.load(write("plain", PLAIN)))
      local _, message = module.settle(kind, { wrod = "no" })
      assert.equal("module plain has no option 'wrod'; it has: count (integer), loud (boolean), often (number), "
        .. "word (string)", message)
      for option, value in pairs { word = 7, count = 1.5, often = "2", loud = "yes" } do
        _, message = module.settle(kind, { [option] = value })
        assert.matches(("^module plain: option %s is %%a+, not of type %%a+$"):format(option), message)
      end
    end)

    for source, expected in pairs {
      ["return 7"] = "init.lua returns no table",
      ["return { name = 'other', doc = 'x', start = print }"] = "its name is 'other', that of its folder 'broken'",
      ["return { name = 'broken', start = print }"] = "it has no doc",
      ["return { name = 'broken', doc = 'x' }"] = "it has no function 'start'",
      ["return { name = 'broken', doc = 'x', start = print, close = print }"] = "unknown field 'close'",
      ["return { name = 'broken', doc = 'x', start = print, options = { a = 1 } }"] = "is not {type, default, doc}",
      ["return { name = 'broken', doc = 'x', start = print, options = { a = { type = 'string', doc = 'x' } } }"] =
        "its default is not of type 'string'",
      ["return {"] = "unexpected symbol near",
      ["error('boom')"] = "boom",
      ["require 'luv'"] = "there is no 'luv': this module sees mycorrizal.* and its own files, broken.*",
      ["os.exit(1)"] = "this would end the node",
      ["debug.traceback()"] = "attempt to index a nil value",
    } do
      it("is refused when it is: " .. source, function()
        local kind, message = module.load(write("broken", source))
        assert.is_nil(kind)
        assert.is_truthy(message:find(expected, 1, true), message)
      end)
    end

    it("sees its own files, and keeps its globals to itself", function()
      local word = write("split", "own = 1 return require 'split.rest'")
      helper.write(folder .. "/split/rest.lua",
        "assert(own == 1 and require 'mycorrizal.text' and require 'split.rest2' == true) "
        .. "return { name = 'split', doc = 'In two files.', start = print }")
      helper.write(folder .. "/split/rest2.lua", "assert((...) == 'split.rest2')")
      assert.equal("In two files.", assert(module.load(word)).doc)
      assert.is_nil(rawget(_G, "own"))
    end)
  end)

  describe("is named by a configuration, which", function()
    it("may name it again on the command line, but not with other options", function()
      local word = write("plain", PLAIN)
      assert.equal("no", assert(modules.resolve({ { word, word = "no" }, word }))[1].options.word)
      assert.equal("no", assert(modules.resolve({ word, { word, word = "no" } }))[1].options.word)
      local _, message = modules.resolve({ { word, word = "no" }, { word, count = 1 } })
      assert.equal("module plain is named twice with options", message)
    end)

    it("is refused where it is no list of names", function()
      local _, message = modules.resolve({ metrics = {} })
      assert.equal('modules: "metrics" is in the place of a number; write { "metrics", option = … }', message)
      _, message = modules.resolve({ {} })
      assert.equal('modules: an item is neither "NAME" nor { "NAME", option = … }', message)
    end)

    it("refuses the node's start when it is wrong", function()
      local tries = 0
      for config, expected in pairs {
        ["modules = { 'metric' }"] = "there is no module 'metric'; there are: ",
        ["modules = { { 'metrics', port = 1 } }"] = "module metrics has no option 'port'",
        ["modules = 'metrics'"] = "modules is no table",
      } do
        tries = tries + 1
        local data = ("%s/%d.myco"):format(folder, tries)
        local node, message = myco.open { name = "here", data = data, config = "return { " .. config .. " }" }
        assert.is_nil(node)
        assert.is_truthy(message:find(expected, 1, true), message)
      end
    end)
  end)

  describe("on a node", function()
    it("starts before the node is ready, and stops when it closes", function()
      local word = write("witness", ([[
        local file = %q
        return { name = "witness", doc = "Writes down what happens.", start = function(node)
          local first = node:is_ready()
          assert(node:ready())
          local carts = assert(node.mycel:septum("carts", { kind = "cache", hyphae = 2 }))
          assert(carts:put("k", "v"))
          local seen = carts:get("k")
          return { stop = function(handle)
            require("mycorrizal.task").sleep("10ms") -- it may wait
            local out = io.open(file, "w")
            out:write(tostring(first), " ", seen, " ", type(handle))
            out:close()
          end }
        end }]]):format(folder .. "/seen"))
      local before = helper.open_handles()
      do
        local node <close> = open(("{ %q }"):format(word))
        wait_for(node, "witness", "running")
      end
      local seen <close> = assert(io.open(folder .. "/seen"))
      assert.equal("false v table", seen:read("a"))
      assert.same({}, helper.new_handles(before))
    end)

    for what, start in pairs {
      ["raises"] = "error('boom')",
      ["says why it can't"] = "return nil, 'boom', 'EIO'",
      ["raises in a task of its own"] =
        "require('mycorrizal.task').spawn(function() error('boom') end) return { stop = function() end }",
      ["raises in a task after a while"] = "local task = require 'mycorrizal.task' "
        .. "task.spawn(function() task.sleep('20ms') error('boom') end) return { stop = function() end }",
    } do
      it("that " .. what .. " fails alone", function()
        local word = write(
          "failing", ("return { name = 'failing', doc = 'Fails.', start = function() %s end }"):format(start))
        local other = write("plain", PLAIN)
        local node <close> = open(("{ %q, %q }"):format(word, other))
        wait_for(node, "failing", "failed")
        assert.matches("boom", eval(node, "node.modules.failing.error"))
        assert.equal("running", eval(node, "node.modules.plain.status"))
        assert(node.mycel:septum("s", { kind = "cache", hyphae = 2 }))
      end)
    end

    it("that does not stop is not waited for", function()
      local word = write("stubborn", "return { name = 'stubborn', doc = 'Stays.', start = function() "
        .. "return { stop = function() require('mycorrizal.task').sleep(60) end } end }")
      local node = open(("{ %q }"):format(word))
      wait_for(node, "stubborn", "running")
      local before = require("mycorrizal.io.loop").now_ms()
      assert(node:close())
      assert.is_true(require("mycorrizal.io.loop").now_ms() - before < 2500) -- the runtime itself waits 3 s
    end)
  end)

  describe("of the program's command line", function()
    it("joins those of the configuration, which may have options for it", function()
      local config = helper.write(folder .. "/c.lua", 'return { modules = { { "metrics", listen = "127.0.0.1:0" } } }')
      local node = helper.start_node(folder, "--config", config, "--module", "metrics")
      local said = helper.pulse(node, { "-e", "node.modules.metrics.status, node.modules.metrics.handle.address" })
      local status = helper.stop_node(node)
      assert.matches('^"running"%s+"127%.0%.0%.1:%d+"\n$', said.out)
      assert.equal(0, status)
    end)

    it("refuses the start when there is none of that name", function()
      local process = helper.spawn({
        helper.build .. "/bin/mycorrizal", "run", "--data", folder .. "/n.myco", "--log", "off", "--module", "metric",
      }, { input = "" })
      assert.equal(1, process:wait_end())
      assert.matches("there is no module 'metric'; there are: ", process.err)
      assert.equal("", process.out)
    end)
  end)

  it("is in 15 lines what modules/README.md says", function()
    local readme <close> = assert(io.open("modules/README.md"))
    local source = readme:read("a"):match("spec: greeter %-%->%s*```lua\n(.-)```")
    local word = write("greeter", source)
    local node <close> = open(("{ { %q, greeting = 'Ahoy' } }"):format(word))
    wait_for(node, "greeter", "running")
    assert.equal("Ahoy, Ada!", node.cytoplasm:request("greet", "Ada", { timeout = "2s" }))
  end)
end)
