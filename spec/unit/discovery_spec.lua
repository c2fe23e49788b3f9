-- What it would catch: a source that breaks its contract, a place that is misread, an answer that is
-- believed though it is none.

local source = require "mycorrizal.discovery.source"

local NAMES <const> = { "static", "dns", "srv", "multicast", "consul", "store" }

local function policy_text(fields)
  return ("return { kind = 'discovery', doc = 'd', discover = function() return {} end, " ..
    "examples = { { given = {}, expect = {} } }, %s }"):format(fields or "")
end

for _, name in ipairs(NAMES) do
  describe("the policy discovery/" .. name, function()
    it("keeps the contract, and its examples hold", function()
      local path = assert(package.searchpath("mycorrizal.policy.discovery." .. name, package.path))
      local file <close> = assert(io.open(path))
      local policy = assert(source.load(name, file:read("a")))
      assert.is_true(assert(source.run_examples(name, policy)))
    end)
  end)
end

describe("a discovery policy", function()
  it("is refused with a reason", function()
    local cases = {
      ["return 7"] = "returns a number, not a policy",
      ["return { kind = 'placement' }"] = "is of kind 'placement'",
      ["return {"] = "unexpected symbol",
      ["os.exit()"] = "nil value",
      [policy_text("speed = 1")] = "unknown field 'speed'",
      [policy_text("options = { a = { type = 'integer', default = 1.5, doc = 'x' } }")] = "option 'a'",
      [policy_text("serve = 1")] = "its serve is a number",
      ["return { kind = 'discovery', doc = 'd', discover = print or type }"] = "has no examples",
      [("-"):rep(70000)] = "longer than 64 KiB",
    }
    for text, reason in pairs(cases) do
      local policy, message, code = source.load("mine", text)
      assert.is_nil(policy)
      assert.matches(reason, message)
      assert.equal("EPOLICY", code)
    end
  end)

  it("is refused when an example does not hold", function()
    local policy = assert(source.load("mine", (policy_text():gsub("expect = {}", "expect = { 'x' }"))))
    local ok, message = source.run_examples("mine", policy)
    assert.is_nil(ok)
    assert.matches("example 1", message)
  end)
end)

describe("a place", function()
  it("is a scheme, an address and options", function()
    local read = assert(source.read("dns:shop.internal:7946?every=10s&server=127.0.0.1:53"))
    assert.same({ "dns", "shop.internal:7946", 10000, 5000, "127.0.0.1:53", 0 },
      { read.scheme, read.address, read.every_ms, read.timeout_ms, read.options.server, read.options.port })
    assert.equal("a b,c", assert(source.read("consul:http://x/y?tag=a%20b%2Cc")).options.tag)
  end)

  it("is refused with a reason", function()
    local cases = {
      ["dns:x?prot=1"] = "has no option 'prot'",
      ["dns:x?every=soon"] = "no duration", ["dns:x?every=1ms"] = "less than",
      ["dns:x?port=a"] = "not of type integer", ["policy:/no/such.lua"] = "No such file", ["weather:x"] = "no source",
    }
    for place, reason in pairs(cases) do
      local read, message = source.read(place)
      assert.is_nil(read)
      assert.matches(reason, message)
    end
  end)
end)

describe("an answer", function()
  local own = { id = "0a", addresses = { "10.0.0.1:7946" } }

  it("loses this node, by id and by address, what is there twice, and what is beyond 64", function()
    assert.same({ "10.0.0.2:7946", "[fd00::1]:7946" }, source.check_answer({
      "10.0.0.1:7946", { address = "10.0.0.7:7946", id = "0a" }, "10.0.0.2:7946", "10.0.0.2:7946",
      { address = "[fd00::1]:7946", id = "0b" },
    }, own))
    local many = {}
    for i = 1, 200 do many[i] = "10.0.1." .. i .. ":7946" end
    assert.equal(64, #source.check_answer(many, own))
  end)

  it("is refused when it is none", function()
    for _, answer in ipairs { "10.0.0.1:1", { "shop.internal:7946" }, { "10.0.0.2" }, { {} }, { "10.0.0.2:0" },
      { "/run/socket" } } do
      local found, message = source.check_answer(answer, own)
      assert.is_nil(found)
      assert.is_string(message)
    end
  end)
end)
