local msgpack = require "mycorrizal.msgpack"
local value = require "mycorrizal.value"

local function hex(bytes)
  return (bytes:gsub(".", function(char) return ("%02x"):format(char:byte()) end))
end

describe("msgpack", function()
  it("brings back what it packed", function()
    local document = {
      list = { 1, 2.5, "three", false, { deep = { true } } }, [7] = "seven", [true] = "yes",
      smallest = math.mininteger, largest = math.maxinteger, binary = "\0\xff", text = "äöü",
    }
    assert.same(document, (msgpack.unpack(msgpack.pack(document))))
  end)

  it("writes equal tables as equal bytes", function()
    local a, b = {}, {}
    for i = 1, 50 do a["k" .. i] = i end
    for i = 50, 1, -1 do b["k" .. i] = i end
    assert.equal(msgpack.pack(a), msgpack.pack(b))
  end)

  it("keeps integers and floats apart", function()
    assert.equal("integer", math.type((msgpack.unpack(msgpack.pack(3)))))
    assert.equal("float", math.type((msgpack.unpack(msgpack.pack(3.0)))))
  end)

  it("writes text as str and other bytes as bin", function()
    assert.equal("a3616263", hex(msgpack.pack("abc")))
    assert.equal("c401ff", hex(msgpack.pack("\xff")))
    assert.equal("c402c080", hex(msgpack.pack("\xc0\x80"))) -- an overlong form is no UTF-8
  end)

  it("takes an empty table for an array unless it came as a map", function()
    assert.equal("90", hex(msgpack.pack({})))
    assert.equal("80", hex(msgpack.pack(msgpack.map())))
    assert.equal("80", hex(msgpack.pack((msgpack.unpack("\x80")))))
  end)

  it("says where the next value begins", function()
    local bytes = msgpack.pack(1) .. msgpack.pack("two")
    local one, at = msgpack.unpack(bytes)
    assert.equal(1, one)
    assert.equal("two", (msgpack.unpack(bytes, at)))
  end)

  it("refuses what can't travel", function()
    local cycle = {}
    cycle.me = cycle
    for reason, thing in pairs {
      ["holds itself"] = cycle, ["a function"] = { print }, ["key is neither"] = { [{}] = 1 },
    } do
      local packed, message, code = msgpack.pack(thing)
      assert.is_nil(packed)
      assert.matches(reason, message)
      assert.equal("EPROTO", code)
    end
  end)

  it("refuses bytes that are cut, lie about their size, or nest too deeply", function()
    local whole = msgpack.pack({ a = { 1, 2, "three" }, b = 2.5 })
    for size = 0, #whole - 1 do assert.is_nil((msgpack.unpack(whole:sub(1, size)))) end
    local wrong = {
      "\xdd\xff\xff\xff\xff\x01", "\xdf\xff\xff\xff\xff", "\xdb\xff\xff\xff\xffabc", "\xc1", "\xd4\1\1",
      ("\x91"):rep(100), "\x81\x90\x01", "\x81\xcb\x7f\xf8\0\0\0\0\0\0\x01",
    }
    for _, bytes in ipairs(wrong) do
      local result, message = msgpack.unpack(bytes)
      assert.is_nil(result)
      assert.is_string(message)
    end
  end)

  it("bears any bytes", function()
    for _ = 1, 2000 do
      local bytes = {}
      for i = 1, math.random(40) do bytes[i] = string.char(math.random(0, 255)) end
      msgpack.unpack(table.concat(bytes))
    end
  end)
end)

describe("a value", function()
  it("is stored as it is when it is a string", function()
    assert.equal("plain \0 bytes", value.encode("plain \0 bytes"))
    assert.equal("plain \0 bytes", value.decode("plain \0 bytes"))
  end)

  it("comes back as what it was", function()
    for _, item in ipairs { { items = 3 }, 7, 2.5, true, false, "", "\xC1", "\xC1M\x01", "\xC1MM" } do
      assert.same(item, value.decode((value.encode(item))))
    end
  end)

  it("is a string when others wrote bytes that only look marked", function()
    assert.equal("\xC1M", value.decode("\xC1M"))
    assert.equal("\xC1M\x01\x02", value.decode("\xC1M\x01\x02"))
  end)

  it("is never nil", function()
    assert.same({ nil, "nil is no value", "EINVAL", n = 3 }, table.pack(value.encode(nil)))
  end)
end)
