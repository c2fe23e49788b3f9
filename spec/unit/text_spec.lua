local json = require "mycorrizal.json"
local show = require "mycorrizal.show"
local text = require "mycorrizal.text"

describe("durations and sizes", function()
  it("are numbers or numbers with a unit", function()
    for given, ms in pairs {
      [5] = 5000, [0.25] = 250, ["200ms"] = 200, ["5s"] = 5000, ["1.5m"] = 90000, ["30d"] = 2592000000,
      ["7"] = 7000,
    } do
      assert.equal(ms, text.duration_ms(given))
    end
    assert.equal(64 << 20, text.size_bytes("64MiB"))
    assert.equal(1000, text.size_bytes(1000))
  end)

  it("raise for what is none", function()
    for _, wrong in ipairs { "soon", "5 parsecs", -1, {}, true, "1..2s" } do
      assert.has_error(function() text.duration_ms(wrong) end)
    end
  end)
end)

describe("json", function()
  it("keeps 64-bit integers and the order of keys", function()
    local line = '{"a":9223372036854775807,"b":[1,2.5,"x"],"c":{},"d":[]}'
    assert.equal(line, json.encode((json.decode(line))))
  end)

  it("reads escapes and surrogate pairs", function()
    assert.equal("é😀\n\"\\/", (json.decode([["\u00e9\ud83d\ude00\n\"\\\/"]])))
  end)

  it("writes control characters so that they can be read", function()
    assert.equal('"\\u0001\\n\\u007f"', json.encode("\1\n\127"))
    assert.equal("\1\n\127", (json.decode(json.encode("\1\n\127"))))
  end)

  it("writes bytes that are no text as base64", function()
    assert.equal('{"base64":"/w=="}', json.encode("\xff"))
    assert.equal('{"base64":"AP8B"}', json.encode("\0\xff\1"))
  end)

  it("refuses what is no JSON, and says where", function()
    local wrong = {
      "", "{", "[1,]", '{"a" 1}', "01", "1.", "+1", "nul", '"a', '"\1"', '"\\x"', '"\\ud800"', '"\\u12"', "1 2",
      "{1:2}", "[1 2]", "-", ("["):rep(200),
    }
    for _, source in ipairs(wrong) do
      local result, message, code = json.decode(source)
      assert.is_nil(result)
      assert.matches("at byte %d", message)
      assert.equal("EPROTO", code)
    end
  end)
end)

describe("show", function()
  it("writes short tables in a line and long ones in lines, keys in order", function()
    assert.equal('{ 1, 2, a = "x", ["b c"] = { true } }', show.value({ 1, 2, ["b c"] = { true }, a = "x" }))
    assert.matches("^{\n  x1 = ", show.value({ x1 = ("y"):rep(60), x2 = ("z"):rep(60) }))
  end)

  it("bears tables that hold themselves, and bytes that are no text", function()
    local cycle = {}
    cycle.me = cycle
    assert.equal("{ me = {…} }", show.value(cycle))
    assert.equal('"\\xff\\n"', show.value("\xff\n"))
  end)
end)
