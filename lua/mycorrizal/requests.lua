-- What the admin server answers, by operation: function(context, request) returns the reply, or
-- nil, message, code. context: {node, session, tell = function(part) sends a part before the reply}

local command <const> = require "mycorrizal.command"
local msgpack <const> = require "mycorrizal.msgpack"
local show <const> = require "mycorrizal.show"
local task <const> = require "mycorrizal.task"
local value <const> = require "mycorrizal.value"

local M <const> = {}

local RECORDS_MAX <const> = 4096
local EVENTS_AT_ONCE <const> = 256

local function leader_of(node, subsystem)
  for _, leader in ipairs(node.nodosum:leaders() or {}) do
    if leader.name == subsystem then return leader.leader end
  end
  return ""
end

--- Who answers.
function M.hello(context)
  local node = context.node
  local status = node.hypha:status() or {}
  local alive = 0
  for _, member in ipairs(node.nodosum:members() or {}) do
    if member.state == "alive" then alive = alive + 1 end
  end
  return {
    name = node.name, cluster = status.cluster, version = status.version or require(
      "mycorrizal").version, nodes = alive,
    leader = leader_of(node, "nodosum"), node = node.id, generation = status.generation,
  }
end

--- A document of the node, see Node:inspect().
function M.inspect(context, request)
  local document, message, code = context.node:inspect(tostring(request.topic))
  if document == nil then return nil, message, code end
  return { document = document }
end

--- Events from number `from` on, in parts {events}; with `follow` also those that are to come.
function M.events(context, request)
  local from = math.tointeger(request.from) or 0
  local page = {}
  local function send()
    if #page > 0 then context.tell({ events = page }) end
    page = {}
  end
  for event in assert(context.node.hypha:events({ from = from })) do
    page[#page + 1] = event
    from = event.sequence + 1
    if #page == EVENTS_AT_ONCE then send() end
  end
  send()
  context.tell({ all = true }) -- that there was
  if not request.follow then return { next = from } end
  for event in assert(context.node.hypha:events({ from = from, follow = true })) do
    context.tell({ events = { event } })
  end
end

--- Begins to hand the lead of the consensus group from this node to the voter `to`.
function M.transfer(context, request)
  local ok, message, code = context.node.nodosum:lead_transfer(tostring(request.to))
  if not ok then return nil, message, code end
  return {}
end

--- Hands an election over to the candidate `to`; answers once that is agreed on.
function M.hand_over(context, request)
  if type(request.name) ~= "string" then return nil, "no name", "EINVAL" end
  local ok, message, code = context.node.nodosum:hand_over(
    request.name, tostring(request.to), { timeout = request.timeout })
  if not ok then return nil, message, code end
  return {}
end

--- Stands for an election until the request is cancelled or the client goes; {duty} at each change.
function M.campaign(context, request)
  if type(request.name) ~= "string" then return nil, "no name", "EINVAL" end
  local options = request.priority and { priority = request.priority } or nil
  local election <close>, message, code = context.node.nodosum:campaign(request.name, {
    on_change = function(duty) context.tell({ duty = duty }) end,
  }, options)
  if not election then return nil, message, code end
  task.await(function() return true end)
end

--- Takes a lock, or one of `permits`, and holds it until the request is cancelled or the client goes;
--- {duty} once it is held.
function M.lock(context, request)
  if type(request.name) ~= "string" then return nil, "no name", "EINVAL" end
  local lost
  local held <close>, message, code = context.node.nodosum:semaphore(
    request.name, math.tointeger(request.permits) or 1, { on_lost = function() if lost then lost() end end })
  if not held then return nil, message, code end
  context.tell({ duty = { name = request.name, held = true, epoch = held.epoch, leader = context.node.name } })
  task.await(function(callback)
    lost = callback
    return held.held
  end)
  return nil, ("the lock %s was lost"):format(request.name), "EFENCED"
end

--- Evaluates Lua. The results are shown as text; a value that can travel is given too.
function M.eval(context, request)
  if type(request.code) ~= "string" then return nil, "no code", "EINVAL" end
  context.session:print_to(function(text) context.tell({ out = text }) end)
  local results, message, code = context.session:eval(request.code)
  if not results then return nil, message, code end
  local reply = { text = show.values(table.unpack(results, 1, results.n)), count = results.n }
  if request.structured and results.n > 0 and msgpack.pack(results[1]) then reply.value = results[1] end
  return reply
end

--- Names that continue the text.
function M.complete(context, request)
  if type(request.text) ~= "string" then return nil, "no text", "EINVAL" end
  local start, names = context.session:complete(request.text)
  return { start = start, names = names }
end

--- Runs a command; its arguments were checked by the client, and are checked again.
function M.command(context, request)
  local definition = command.find(tostring(request.name))
  if not definition then return nil, ("there is no command '%s'"):format(tostring(request.name)), "ENOTFOUND" end
  local args, message = command.check(definition, request.args, request.flags)
  if not args then return nil, message, "EINVAL" end
  local result, why, code = definition.run({
    node = context.node,
    emit = function(item) context.tell({ item = item }) end,
  }, args, request.flags or {})
  if not result then return nil, why, code end
  return { result = result }
end

-- Records as put_many() takes them: strings as they are, everything else as Lua's values.
local function raw(records)
  local items = {}
  for i, record in ipairs(records) do
    local bytes, message = record[2], nil
    if type(bytes) ~= "string" then bytes, message = value.encode(bytes) end
    if not bytes then return nil, ("'%s': %s"):format(record[1], message) end
    items[i] = { record[1], bytes }
  end
  return items
end

--- Stores many records, {key, value} each, one request for each primary.
function M.load(context, request)
  local records = request.records
  if type(records) ~= "table" or #records > RECORDS_MAX then return nil, "no records, or too many", "EINVAL" end
  for _, record in ipairs(records) do
    if type(record) ~= "table" or type(record[1]) ~= "string" or record[2] == nil then
      return nil, "a record that is not {key, value}", "EINVAL"
    end
  end
  local septum, message, code = context.node.mycel:septum(tostring(request.septum))
  if not septum then return nil, message, code end
  local items, why = raw(records)
  if not items then return nil, why, "EINVAL" end
  if #items == 0 then return { stored = 0 } end
  local stored, failure, failed = septum:put_many(items, { raw = true })
  if not stored then return nil, failure, failed end
  return { stored = #items }
end

return M
