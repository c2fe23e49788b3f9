-- Nodes on one network segment: a question to a group, which every node of the cluster answers.
--
--     mycorrizal 1 ask|here CLUSTER ID ADDRESS        one datagram of text
--
-- CLUSTER is the hash of the cluster's name, ID the node's, ADDRESS where its peers reach it. A node
-- listens for as long as it runs, and answers whoever asks, but not more often than ANSWERS_MAX a second.

local ANSWERS_MAX <const> = 50
local SIZE_MAX <const> = 200

local function message(word, world)
  return ("mycorrizal 1 %s %s %s %s"):format(word, world.own.cluster, world.own.id, world.own.address)
end

-- {id, address} of a datagram that says `word` and is of this cluster; nil otherwise.
local function read(data, word, world)
  if #data > SIZE_MAX then return nil end
  local said, cluster, id, address = data:match("^mycorrizal 1 (%l+) (%x+) (%x+) ([%x.:%[%]]+)$")
  if said ~= word or cluster ~= world.own.cluster or id == world.own.id then return nil end
  return { id = id, address = address }
end

local function group_of(world)
  return world.address:match("^%[?(.-)%]?:(%d+)$")
end

local function any_address(group)
  return group:find(":", 1, true) and "[::]:" or "0.0.0.0:"
end

return {
  kind = "discovery",
  doc = "GROUP:PORT: asks a multicast group who is there, and answers those who ask.",
  options = {
    interface = { type = "string", default = "", doc = "address of the interface to use; empty: the system's choice" },
    ttl = { type = "integer", default = 1, doc = "hops that a question may go" },
    wait = { type = "integer", default = 500, doc = "milliseconds to wait for answers" },
  },

  discover = function(world, options)
    local kit, group = world.kit, group_of(world)
    local socket <close>, wrong, code = kit.udp({
      bind = any_address(group) .. "0", multicast = true, interface = options.interface, ttl = options.ttl,
    })
    if not socket then return nil, wrong, code end
    local ok
    ok, wrong, code = socket:send(message("ask", world), world.address)
    if not ok then return nil, wrong, code end
    local found, known, ends = {}, {}, kit.now_ms() + options.wait
    while kit.now_ms() < ends and #found < 64 do
      local data = socket:receive((ends - kit.now_ms()) / 1000)
      local said = data and read(data, "here", world)
      if said and not known[said.id] then
        known[said.id] = true
        found[#found + 1] = said
      end
    end
    return found
  end,

  serve = function(world, options)
    local kit, group, port = world.kit, group_of(world)
    local socket <close>, wrong = kit.udp({
      bind = any_address(group) .. port, shared = true, group = group, interface = options.interface,
    })
    if not socket then error(wrong, 0) end
    local second, answers = 0, 0
    while true do
      local data, from = socket:receive("60s")
      local now = kit.now_ms() // 1000
      if now ~= second then second, answers = now, 0 end
      if data and answers < ANSWERS_MAX and read(data, "ask", world) then
        answers = answers + 1
        socket:send(message("here", world), from)
      end
    end
  end,

  examples = {
    {
      given = {
        address = "239.7.9.46:7946", own = { id = "0a", cluster = "c0", address = "10.0.0.1:7946" },
        answers = {
          udp = {
            "mycorrizal 1 here c0 0b 10.0.0.2:7946", "mycorrizal 1 here c0 0b 10.0.0.2:7946",
            "mycorrizal 1 here c1 0c 10.0.0.3:7946", "mycorrizal 1 here c0 0a 10.0.0.1:7946", "garbage",
          },
        },
      },
      expect = { { id = "0b", address = "10.0.0.2:7946" } },
    },
  },
}
