local command = require "mycorrizal.command"

local function parse(...)
  local words = { ... }
  local definition, first = command.of_words(words)
  if not definition then return nil, first end
  return command.parse(definition, words, first)
end

describe("a command line", function()
  it("becomes arguments by name and flags", function()
    local args, flags = parse("put", "carts", "u:7", "x", "--ttl", "30", "--if-version=7", "--if-absent")
    assert.same({ septum = "carts", key = "u:7", value = "x" }, args)
    assert.same({ ttl = 30, ["if-version"] = 7, ["if-absent"] = true }, flags)
  end)

  it("knows commands of two words", function()
    local args = parse("septum", "create", "carts", "--kind", "cache")
    assert.same({ name = "carts" }, args)
  end)

  it("takes what follows -- as it is", function()
    assert.same({ septum = "s", key = "--json" }, (parse("get", "s", "--", "--json")))
  end)

  it("is refused with a reason", function()
    local cases = {
      { "there is no command 'frob'", "frob" }, { "which%?", "policy" }, { "KEY is missing", "get", "s" },
      { "one argument too many", "get", "s", "k", "x" }, { "unknown option %-%-ttl", "get", "s", "k", "--ttl", "3" },
      { "wants a value", "put", "s", "k", "v", "--ttl" }, { "not a duration", "put", "s", "k", "v", "--ttl", "soon" },
      { "not an integer", "scan", "s", "--limit", "ten" }, { "takes no value", "get", "s", "k", "--json=yes" },
    }
    for _, case in ipairs(cases) do
      local args, message = parse(table.unpack(case, 2))
      assert.is_nil(args)
      assert.matches(case[1], message)
    end
  end)

  it("is explained by --help, with every flag", function()
    for _, definition in ipairs(command.all()) do
      local help = command.help(definition)
      for name in pairs(definition.flags or {}) do assert.is_truthy(help:find("--" .. name, 1, true)) end
    end
  end)
end)
