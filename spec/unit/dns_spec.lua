-- The decoder of DNS messages, and what a name server may send to hurt us: what it would catch is an
-- endless loop, an error that is raised, or a record that is believed though it is cut off.

local dns = require "mycorrizal.dns"

local function header(flags, answers, questions)
  return string.pack(">I2I2I2I2I2I2", 7, flags, questions or 1, answers, 0, 0)
end

local QUESTION <const> = "\4shop\8internal\0" .. string.pack(">I2I2", 33, 1)

local function record(name, kind, data)
  return name .. string.pack(">I2I2I4s2", kind, 1, 60, data)
end

local POINTER <const> = "\xC0\12" -- to the question's name

describe("a DNS query", function()
  it("is a header and a question", function()
    assert.equal(string.pack(">I2I2I2I2I2I2", 7, 0x0100, 1, 0, 0, 0) .. QUESTION, dns.query(7, "shop.internal.", "SRV"))
  end)

  it("is refused for what is no name", function()
    for _, name in ipairs { "", ".", "a..b", ("x"):rep(64), ("x."):rep(200) } do
      assert.is_nil((dns.query(1, name, "A")))
    end
  end)
end)

describe("a DNS response", function()
  it("is read, with names that point back", function()
    local srv = record(POINTER, 33, string.pack(">I2I2I2", 5, 10, 7946) .. "\1a" .. POINTER)
    local answer = assert(dns.decode(header(0x8180, 3) .. QUESTION .. srv .. record("\1a" .. POINTER, 1, "\10\0\0\1")
      .. record("\1a" .. POINTER, 28, ("\0"):rep(15) .. "\1")))
    assert.equal("shop.internal", answer.name)
    assert.same({ name = "shop.internal", type = "SRV", ttl = 60, priority = 5, weight = 10, port = 7946,
      target = "a.shop.internal" }, answer.records[1])
    assert.equal("10.0.0.1", answer.records[2].address)
    assert.equal("0:0:0:0:0:0:0:1", answer.records[3].address)
    assert.equal(1, #dns.pick(answer, "SRV"))
    assert.equal(0, #dns.pick(answer, "A")) -- of another name
  end)

  it("follows aliases, and not in circles", function()
    local answer = assert(dns.decode(header(0x8180, 3) .. QUESTION .. record(POINTER, 5, "\1b\0")
      .. record("\1b\0", 1, "\10\0\0\2") .. record("\1c\0", 1, "\10\0\0\3")))
    assert.equal("10.0.0.2", dns.pick(answer, "A")[1].address)
    local circle = assert(dns.decode(header(0x8180, 2) .. QUESTION .. record(POINTER, 5, "\1b\0")
      .. record("\1b\0", 5, POINTER)))
    assert.same({}, dns.pick(circle, "A"))
  end)

  it("says that it was truncated, and its code", function()
    assert.is_true(dns.decode(header(0x8380, 9) .. QUESTION).truncated)
    assert.equal(3, dns.decode(header(0x8183, 0) .. QUESTION).code)
  end)

  it("is refused when it is hostile", function()
    local hostile = {
      "", "\0", header(0x8180, 0), header(0x0100, 0) .. QUESTION, header(0x8180, 0, 2) .. QUESTION .. QUESTION,
      header(0x8180, 65535) .. QUESTION, header(0x8180, 1) .. QUESTION,
      header(0x8180, 0) .. "\xC0\12" .. "\0\33\0\1",                          -- a name that points to itself
      header(0x8180, 0) .. "\xC0\14\xC0\12" .. "\0\33\0\1",                   -- two that point to each other
      header(0x8180, 0) .. "\xC0\xFF" .. "\0\33\0\1",                         -- forward
      header(0x8180, 0) .. "\x41x\0\0\33\0\1",                                -- a length that is none
      header(0x8180, 0) .. "\63abc",                                          -- a label cut off
      header(0x8180, 0) .. ("\1x"):rep(200) .. "\0\0\33\0\1",                 -- a name too long
      header(0x8180, 0) .. "\3a b\0\0\33\0\1", header(0x8180, 0) .. "\3a\nb\0\0\33\0\1",
      header(0x8180, 1) .. QUESTION .. record(POINTER, 1, "\10\0\0"),         -- an address too short
      header(0x8180, 1) .. QUESTION .. record(POINTER, 28, "\10"),
      header(0x8180, 1) .. QUESTION .. record(POINTER, 33, "\0\1\0\1"),
      header(0x8180, 1) .. QUESTION .. record(POINTER, 33, "\0\1\0\1\0\1" .. "\1a\0" .. "more"),
      header(0x8180, 1) .. QUESTION .. record(POINTER, 5, ""),
      header(0x8180, 1) .. QUESTION .. POINTER .. string.pack(">I2I2I4I2", 1, 1, 60, 65535) .. "\10\0\0\1",
    }
    for i, bytes in ipairs(hostile) do assert.is_nil(dns.decode(bytes), i) end
  end)

  it("never raises, cut off anywhere or with any byte changed", function()
    local whole = header(0x8180, 2) .. QUESTION .. record(POINTER, 33, string.pack(">I2I2I2", 5, 10, 7946) .. "\1a"
      .. POINTER) .. record("\1a" .. POINTER, 1, "\10\0\0\1")
    for size = 0, #whole - 1 do assert.is_nil(dns.decode(whole:sub(1, size)), size) end
    for at = 1, #whole do
      for _, byte in ipairs { 0, 1, 63, 64, 127, 192, 255 } do
        dns.decode(whole:sub(1, at - 1) .. string.char(byte) .. whole:sub(at + 1))
      end
    end
  end)
end)
