-- The options of septa through Lua. Would catch: a change that does not arrive, or overwrites what
-- was not named; an option that changes though it must not.
local command = require "mycorrizal.command"
local helper = require "spec.support.helper"

describe("the options of a septum", function()
  local folder, node

  setup(function()
    folder = helper.new_folder()
    node = helper.open_node(folder)
    assert(node.mycel:septum("carts", { kind = "durable", hyphae = 4, ttl = "1d" }))
    helper.wait_until("the feature is active", 10, function()
      return node.mycel:alter("carts", "ttl=1d")
    end)
  end)

  teardown(function()
    node:close()
    helper.remove(folder)
  end)

  local function run(name, args)
    return command.find(name).run({ node = node }, args, {})
  end

  local function shown(option)
    local answer = assert(run("septum", { name = "carts" }))
    for _, row in ipairs(answer.rows) do
      if row.option == option then return row.value, row.changes end
    end
  end

  it("change later, one without the others", function()
    assert(node.mycel:alter("carts", { ttl = "1d" }))
    assert(node.mycel:alter("carts", { size = "64MiB", idle = "90s" }))
    assert.equal("64MiB", (shown("size")))
    assert.equal("90s", (shown("idle")))
    assert.equal("1d", (shown("ttl")))
  end)

  it("change by a command", function()
    assert(run("septum alter", { name = "carts", options = { "ttl=2d", "entries=500" } }))
    assert.equal("2d", (shown("ttl")))
    assert.equal("500", (shown("entries")))
  end)

  it("say why they can't change", function()
    local done, message, code = node.mycel:alter("carts", { hyphae = 8 })
    assert.is_nil(done)
    assert.truthy(message:find("every key would belong to another hypha", 1, true))
    assert.equal("EINVAL", code)
    local _, changes = shown("hyphae")
    assert.truthy(changes:find("^no: "))
  end)

  it("are those of a septum that is there", function()
    local _, _, code = node.mycel:alter("nothing", { ttl = "1d" })
    assert.equal("ENOTFOUND", code)
    assert.truthy(assert(run("septum", { name = "nothing" })).missing)
  end)
end)
