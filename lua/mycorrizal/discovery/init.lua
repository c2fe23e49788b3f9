-- Discovery: asks each source where others are, at the start, soon again while this node is alone,
-- and from time to time after that, so that late ones and lost ones are found. What all sources
-- found last is what the node asks (myco_join): old candidates go when new ones come.
--
--     ask -> found: the candidates, in place of those before   -> again after `every`; alone: 1 s, 2 s … 5 s
--         -> failed: said once; the candidates stay            -> again after 1 s, 2 s, 4 s … `every`

local core <const> = require "mycorrizal.core"
local files <const> = require "mycorrizal.io.files"
local kit_module <const> = require "mycorrizal.discovery.kit"
local loop <const> = require "mycorrizal.io.loop"
local source_module <const> = require "mycorrizal.discovery.source"
local task <const> = require "mycorrizal.task"

local M <const> = {}

local CANDIDATES_MAX <const> = 64
local FIRST_MS <const> = 1000      -- until the second run
local ALONE_MS <const> = 5000      -- at most, while this node is alone
local LOOK_MS <const> = 1000       -- how often it looks whether it is
local SERVE_AGAIN_MS <const> = 5000
local LEAVE_LIMIT <const> = "1s"

---@class myco.discovery
---@field sources myco.discovery.source[]
local Discovery <const> = {}
Discovery.__index = Discovery

-- ── The world ──

local function facts(self)
  return self.node:inspect("discovery") or {}
end

-- Where others reach this node: what it says to its peers, or, when that is any address, those of
-- this machine.
local function own_addresses(node)
  local out = {}
  for _, member in ipairs(node:inspect("members") or {}) do
    if member.self then out[1] = member.addr end
  end
  local first = out[1] or node.listen
  local port = first:match(":(%d+)$")
  if not first:match("^0%.0%.0%.0:") and not first:match("^%[::%]:") then return { first }, port end
  local found = {}
  for i, ip in ipairs(files.own_addresses()) do
    found[i] = (ip:find(":", 1, true) and "[%s]:%s" or "%s:%s"):format(ip, port)
  end
  return #found > 0 and found or { first }, port
end

-- Who this node is; once it closes it tells no more, and is who it was.
local function own_facts(self, known)
  if not known.name_hash then return self.own or { addresses = {} } end
  local addresses, port = own_addresses(self.node)
  self.own = {
    id = self.node.id, name = self.node.name, cluster = known.name_hash, addresses = addresses,
    address = addresses[1], port = math.tointeger(tonumber(port)),
  }
  return self.own
end

local function new_world(self, source, kit)
  local known = facts(self)
  local own = own_facts(self, known)
  return {
    address = source.address, every_ms = source.every_ms, alone = (known.alive or 0) < 2, port = own.port, own = own,
    kit = kit,
  }
end

-- ── Candidates ──

-- The first of each source, then the second of each …
local function gather(sources)
  local out, seen = {}, {}
  for rank = 1, CANDIDATES_MAX do
    for _, source in ipairs(sources) do
      local address = source.found[rank]
      if address and not seen[address] and #out < CANDIDATES_MAX then out[#out + 1] = address end
      if address then seen[address] = true end
    end
  end
  return out
end

local function tell(self)
  if core.is_open(self.node.handle) then core.join(self.node.handle, table.concat(gather(self.sources), ",")) end
end

-- ── Asking ──

-- In a task that is suspended when it computes for long, and ended at its limit.
local function guarded(limit_ms, fn, ...)
  local child = task.start_guarded(limit_ms / 1000, fn, ...)
  local _ <close> = setmetatable({}, { __close = function() child:cancel() end })
  return child:join()
end

local function call(self, source, name, limit_ms)
  local kit <close> = kit_module.new(source.place)
  local world = new_world(self, source, kit)
  local ok, answer, message, code = pcall(guarded, limit_ms, source.policy[name], world, source.options)
  if task.current().cancelled then error("cancelled", 0) end
  if not ok then return nil, tostring(answer):match("^[^\n]*"), "ELUA" end
  if answer == nil and name == "discover" then return nil, message or "it answers nothing", code end
  return answer or true, nil, nil, world.own
end

local function fail(source, message)
  source.status, source.error = "failed", message
  source.failures = source.failures + 1
  if source.failures == 1 then
    core.warned("discovery", ("%s: %s; it is tried again"):format(source.place, message))
  end
end

local function succeed(source, found)
  if source.failures > 0 then core.note("discovery", ("%s answers again"):format(source.place)) end
  source.status, source.error, source.failures, source.found = "found", nil, 0, found
end

local function ask(self, source)
  source.runs, source.asked_ms = source.runs + 1, loop.now_ms()
  local answer, message, _, own = call(self, source, "discover", source.timeout_ms)
  local found
  if answer then found, message = source_module.check_answer(answer, own) end
  core.discovered(found ~= nil)
  if found then succeed(source, found) else fail(source, message) end
  tell(self)
end

-- ── When ──

local function doubled(times, most_ms)
  return math.min(FIRST_MS * 2.0 ^ math.min(times, 20), most_ms)
end

local function jittered(ms)
  return ms * (0.9 + 0.2 * math.random())
end

-- Until the next run is due, or this node finds itself alone.
local function wait(self, source, quick)
  local alone = (facts(self).alive or 0) < 2
  local ms = source.every_ms
  if source.failures > 0 then
    ms = doubled(source.failures - 1, ms)
  elseif alone then
    ms = math.min(doubled(quick, ALONE_MS), ms)
  end
  source.next_ms = loop.now_ms() + jittered(ms)
  while loop.now_ms() < source.next_ms do
    task.sleep(math.min(LOOK_MS, math.max(1, source.next_ms - loop.now_ms())) / 1000)
    if not alone and source.failures == 0 and (facts(self).alive or 0) < 2 then break end
  end
  return alone
end

local function run(self, source)
  local quick = 0
  while true do
    ask(self, source)
    quick = wait(self, source, quick) and quick + 1 or 0
  end
end

-- What answers others for as long as the source is there, and is started again when it ends.
local function serve(self, source)
  while true do
    local kit <close> = kit_module.new(source.place)
    local ok, message = pcall(source.policy.serve, new_world(self, source, kit), source.options)
    if task.current().cancelled then error("cancelled", 0) end
    if not source.serve_failed then
      source.serve_failed = true
      core.warned("discovery", ("%s: serve: %s; it is started again"):format(
        source.place, ok and "it ended" or tostring(message):match("^[^\n]*")))
    end
    task.sleep(SERVE_AGAIN_MS / 1000)
  end
end

-- ── Life ──

--- Reads the sources of the option `join`.
---@param places string? comma-separated
---@return myco.discovery.source[]?
---@return string? message
---@return string? code
function M.resolve(places)
  local sources = {}
  for place in (places or ""):gmatch("[^, ]+") do
    local source, message, code = source_module.read(place)
    if not source then return nil, message, code end
    sources[#sources + 1] = source
  end
  return sources
end

--- Starts to ask them, and returns at once.
---@param node myco.node
---@param sources myco.discovery.source[]
---@return myco.discovery
function M.start(node, sources)
  local self = setmetatable({ node = node, sources = sources, tasks = {} }, Discovery)
  for _, source in ipairs(sources) do
    self.tasks[#self.tasks + 1] = task.start(run, self, source)
    if source.policy.serve then self.tasks[#self.tasks + 1] = task.start(serve, self, source) end
  end
  return self
end

local function leave_one(self, source)
  local answer, message = call(self, source, "leave", source.timeout_ms)
  if not answer then core.warned("discovery", ("%s: leave: %s"):format(source.place, message)) end
end

local function leave_all(self)
  for _, running in ipairs(self.tasks) do running:cancel() end
  local leaving = {}
  for _, source in ipairs(self.sources) do
    if source.policy.leave and source.runs > 0 then
      leaving[#leaving + 1] = task.spawn(task.deadline, LEAVE_LIMIT, leave_one, self, source)
    end
  end
  for _, child in ipairs(leaving) do child:join() end
end

--- Stops, tells those that were told that this node is here, and calls back; a second at most.
---@param callback fun()
function Discovery:stop(callback)
  task.start(leave_all, self).on_end[1] = function() loop.defer(callback) end
end

--- How each source does: {source, status, found, error, failures, runs, asked_s, next_s}.
---@return table[]
function Discovery:report()
  local out, now = {}, loop.now_ms()
  for i, source in ipairs(self.sources) do
    out[i] = {
      source = source.place, status = source.status, found = source.found, error = source.error,
      failures = source.failures, runs = source.runs,
      asked_s = source.asked_ms and (now - source.asked_ms) / 1000,
      next_s = source.next_ms and math.max(0, source.next_ms - now) / 1000,
    }
  end
  return out
end

return M
