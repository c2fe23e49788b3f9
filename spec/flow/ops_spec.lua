-- Every operation on keys against a plain Lua table: random ones from a seed, by a client node, on three nodes of which
-- one is killed in the middle. It would catch a result that the table does not give, a version that does not fit, a
-- change that is lost or happens twice at a failover, and a watch that tells something else than what happened.
--
-- OPS_SEED repeats an order. After EUNKNOWN the key is read, and must be as before the operation or as after it.

local cluster_module <const> = require "spec.support.cluster"
local helper <const> = require "spec.support.helper"
local task <const> = require "mycorrizal.task"

local SEED <const> = tonumber(os.getenv("OPS_SEED")) or 20261122
local KEYS <const> = 24
local ROUNDS <const> = 500

describe("operations on keys", function()
  local cluster, folder, node, septum, model, mirror, unknown

  -- ── What the table says: each returns the new item (nil: absent) and what the operation must give ──

  local function number_of(item) return item and math.tointeger(tonumber(item)) end

  local plan = {
    put = function(_, text) return text, "version" end,
    absent = function(item, text)
      if item then return item, "ECONFLICT" end
      return text, "version"
    end,
    del = function(item) return nil, item ~= nil end,
    incr = function(item, _, delta)
      if item and not number_of(item) then return item, "EINVAL" end
      local sum = (number_of(item) or 0) + delta
      return tostring(sum), sum
    end,
    append = function(item, text) return (item or "") .. text, #(item or "") + #text end,
    swap = function(item, text) return text, item or "nothing" end,
    take = function(item) return nil, item or "nothing" end,
    touch = function(item) return item, item or "nothing" end,
    expire = function(item) return item, item ~= nil end,
    get = function(item) return item, item or "nothing" end,
  }
  local names = {}
  for name in pairs(plan) do names[#names + 1] = name end
  table.sort(names)

  local ask = {
    put = function(key, text) return septum:put(key, text) end,
    absent = function(key, text) return septum:put(key, text, { if_absent = true }) end,
    del = function(key) return septum:del(key) end,
    incr = function(key, _, delta) return septum:incr(key, delta) end,
    append = function(key, text) return septum:append(key, text) end,
    swap = function(key, text) return septum:swap(key, text) end,
    take = function(key) return septum:take(key) end,
    touch = function(key) return septum:touch(key, "1h") end,
    expire = function(key) return septum:expire(key, "1h") end,
    get = function(key) return septum:get(key) end,
  }

  local function expected(name, want, result, code)
    if want == "version" then return math.type(result) == "integer" end
    if want == "ECONFLICT" or want == "EINVAL" then return result == nil and code == want end
    if want == "nothing" then return result == nil and (code == nil or name == "swap") end
    return result == want
  end

  local function one(random)
    local key, name = ("k:%02d"):format(random(KEYS)), names[random(#names)]
    local text, delta = random(3) == 1 and ("text%d"):format(random(99)) or tostring(random(99)), random(-9, 9)
    local fresh, want = plan[name](model[key], text, delta)
    local result, message, code = ask[name](key, text, delta)
    if code == "EUNKNOWN" then
      unknown = unknown + 1
      local found = septum:get(key)
      assert.is_true(found == model[key] or found == fresh, ("%s of %s left '%s'"):format(name, key, found))
      model[key] = found
      return
    end
    assert(expected(name, want, result, code), ("seed %d: %s of %s: %s (%s %s), not %s"):format(
      SEED, name, key, result, message, code, want))
    model[key] = fresh
  end

  local function compare()
    local keys, count, scanned = {}, 0, {}
    for i = 1, KEYS do keys[i] = ("k:%02d"):format(i) end
    assert.same(model, (assert(septum:get_many(keys))))
    for _ in pairs(model) do count = count + 1 end
    assert.equal(count, assert(septum:count("k:")))
    for key, item in septum:scan("k:") do scanned[key] = item end
    assert.same(model, scanned)
  end

  before_each(function()
    model, mirror, unknown = {}, {}, 0
    cluster = cluster_module.new({ "a", "b", "c" }, { expect = 3 })
    cluster:start({ "a", "b", "c" })
    folder = helper.new_folder()
    node = helper.open_node(folder, { name = "client", cluster = "shop", join = cluster.join })
    septum = assert(node.mycel:septum("shelf", { kind = "durable", replicas = 2, hyphae = 8 }))
  end)

  after_each(function()
    node:close()
    cluster:close()
    helper.remove(folder)
  end)

  it("give what a table gives, with a node killed in the middle", function()
    local state = SEED
    local function random(from, to) -- of our own: the specs share math.random
      if not to then from, to = 1, from end
      state = (state * 6364136223846793005 + 1442695040888963407)
      return from + (state >> 33) % (to - from + 1)
    end
    local watch <close> = assert(septum:watch("k:", function(event)
      mirror[event.key] = event.kind == "put" and event.value or nil
      assert.is_true(event.kind == "put" or event.kind == "del", event.kind)
    end))
    for _ = 1, ROUNDS do one(random) end
    compare()
    cluster.nodes.b.process:kill("sigkill") -- and on at once: something may be under way there
    for _ = 1, ROUNDS do one(random) end
    compare()
    assert.is_true(unknown <= 2, ("%d outcomes unknown"):format(unknown))
    task.deadline(10, function()
      while true do
        if pcall(assert.same, model, mirror) then return end
        task.sleep("20ms")
      end
    end)
    assert.same(model, mirror)
    assert.equal("k:", watch.prefix)
  end)
end)
