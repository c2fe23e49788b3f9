-- Nodosum, coordination: members, elections, policies of the cluster.

local core <const> = require "mycorrizal.core"
local lock <const> = require "mycorrizal.lock"
local task <const> = require "mycorrizal.task"
local text <const> = require "mycorrizal.text"

local M <const> = {}

---@class myco.nodosum
local Nodosum <const> = {}
Nodosum.__index = Nodosum
Nodosum.__tostring = function() return "nodosum" end

---@class myco.duty
---@field name string
---@field held boolean this node leads
---@field epoch integer the fencing token
---@field leader string name of the node that leads, "" when none is known

---@class myco.election
---@field name string
---@field duty myco.duty as last heard
local Election <const> = {}
Election.__index = Election
Election.__tostring = function(self) return ("election of %s"):format(self.name) end

-- ── Elections ──

local function start(handler, duty)
  return handler and task.start(handler, duty)
end

local function on_duty(election, handlers, duty)
  local before = election.duty
  election.duty = duty
  if duty.held and not before.held then
    election.work = start(handlers.on_gained, duty)
  elseif before.held and not duty.held then
    if election.work then election.work:cancel() end
    election.work = nil
    start(handlers.on_lost, duty)
  end
  start(handlers.on_change, duty)
end

-- { zone = "a" } as "zone=a", in the order of the names.
local function label_text(labels)
  if not labels then return nil end
  local words = {}
  for name, label in pairs(labels) do
    local word = ("%s=%s"):format(name, tostring(label))
    if word:find("[,%s]") or tostring(name):find("=") then error(("campaign: '%s' is no label"):format(word), 3) end
    words[#words + 1] = word
  end
  table.sort(words)
  return table.concat(words, ",")
end

--- Stands as a candidate for `name`. on_gained(duty) runs as a task, which is cancelled when the
--- duty is lost; on_lost(duty) runs then; on_change(duty) at each change, also of another's
--- leadership. duty.epoch fences what is done with it. What the policy sees of this candidate: priority
--- (higher is preferred; default 0) and labels (above those of the node). After it was lost it stands
--- again `cooldown` later; default: at once.
---@param name string
---@param handlers table<"on_gained"|"on_lost"|"on_change", fun(duty: myco.duty)>?
---@param options { priority: integer?, labels: table<string, any>?, cooldown: number|string? }?
---@return myco.election?
---@return string? message
---@return string? code
function Nodosum:campaign(name, handlers, options)
  handlers, options = handlers or {}, options or {}
  local election = setmetatable(
    { name = name, duty = { name = name, held = false, epoch = 0, leader = "" } }, Election)
  local held, message, code = core.campaign(
    self.node.handle, name, options.priority, label_text(options.labels), text.optional_ms(options, "cooldown"),
    function(duty) on_duty(election, handlers, duty) end)
  if not held then return nil, message, code end
  election.held = held
  return election
end

--- Gives it up and withdraws. Work under it is cancelled first.
function Election:resign()
  if self.work then self.work:cancel() end
  if self.held then core.release(self.held) end
  self.work, self.held = nil, nil
  self.duty = { name = self.name, held = false, epoch = self.duty.epoch, leader = "" }
end

Election.close = Election.resign
Election.__close = Election.resign

---@class myco.observer
local Observer <const> = {}
Observer.__index = Observer
Observer.__tostring = function(self) return ("observer of %s"):format(self.name) end

--- Calls handler(leadership) as a task with who leads now, and with every change: {name, leader,
--- epoch, reason}. `name` is one election, or "jobs.*" for all whose names begin so.
---@param name string
---@param handler fun(leadership: table)
---@return myco.observer?
---@return string? message
---@return string? code
function Nodosum:observe(name, handler)
  local held, message, code = core.observe(self.node.handle, name, function(leadership)
    task.start(handler, leadership)
  end)
  if not held then return nil, message, code end
  return setmetatable({ name = name, held = held }, Observer)
end

--- Ends it.
function Observer:close()
  if self.held then core.release(self.held) end
  self.held = nil
end

Observer.__close = Observer.close

--- Hands a leadership over to a candidate, by its node's name.
---@param name string
---@param to string
---@param options { timeout: number|string? }?
---@return true?
---@return string? message
---@return string? code
function Nodosum:hand_over(name, to, options)
  return task.await(core.hand_over, self.node.handle, name, to, text.optional_ms(options, "timeout"))
end

-- ── Locks ──

--- Waits until this lock is held: local lock <close> = assert(nodosum:lock("import", { wait = "2s" })).
--- wait = 0 asks only whether it is free; on_lost(lock) runs when the node's lease ran out. It is
--- not re-entrant: a task that holds it and asks again is refused (EBUSY). Show it to what it protects:
--- septum:put(key, value, { fence = lock }).
---@param name string
---@param options { wait: number|string?, on_lost: fun(lock: myco.lock)? }?
---@return myco.lock?
---@return string? message
---@return string? code
function Nodosum:lock(name, options)
  return lock.lock(self.node, name, 1, options)
end

--- The same for one of `permits`, which all who use the name must agree on.
---@param name string
---@param permits integer
---@param options { wait: number|string?, on_lost: fun(lock: myco.lock)? }?
---@return myco.lock?
---@return string? message
---@return string? code
function Nodosum:semaphore(name, permits, options)
  return lock.lock(self.node, name, permits, options)
end

--- A barrier: assert(nodosum:barrier("start", 3):enter { wait = "1m" }) returns once three entered it;
--- :leave() waits for all of them again.
---@param name string
---@param parties integer
---@return myco.barrier
function Nodosum:barrier(name, parties)
  return lock.barrier(self.node, name, parties)
end

--- Locks and barriers in use: {kind, name, permits, holders = {{node, epoch, fence}}, waiters = {node}}.
---@return table[]?
---@return string? message
---@return string? code
function Nodosum:locks()
  return self.node:inspect("locks")
end

-- ── What there is ──

--- Waits until this node knows all that was agreed on before the call: what is looked at then is linearizable. It is a
--- barrier in the log of the consensus group; no clock is trusted.
---@param options { timeout: number|string? }?
---@return true?
---@return string? message
---@return string? code
function Nodosum:sync(options)
  return task.await(core.sync, self.node.handle, text.optional_ms(options, "timeout"))
end

--- Removes a member for ever, by its name or id. One that runs is refused unless `force`: stop it first.
---@param member string
---@param options { force: boolean?, timeout: number|string? }?
---@return true?
---@return string? message
---@return string? code
function Nodosum:remove(member, options)
  local force = options and options.force or false
  return task.await(core.remove, self.node.handle, member, force, text.optional_ms(options, "timeout"))
end

-- What a node knows may be behind; after a sync it is not.
local function look(self, topic, options)
  if options and options.linearizable then
    local ok, message, code = self:sync(options)
    if not ok then return nil, message, code end
  end
  return self.node:inspect(topic)
end

--- The members: {name, id, addr, state, generation, labels, role, self} each.
---@param options { linearizable: boolean?, timeout: number|string? }? linearizable: after a sync
---@return table[]?
---@return string? message
---@return string? code
function Nodosum:members(options)
  return look(self, "members", options)
end

--- Elections and who holds them: {name, leader, epoch, held_here} each.
---@param options { linearizable: boolean?, timeout: number|string? }? linearizable: after a sync
---@return table[]?
---@return string? message
---@return string? code
function Nodosum:leaders(options)
  local leaders, message, code = look(self, "leaders", options)
  if not leaders then return nil, message, code end
  for _, leader in ipairs(leaders) do leader.name = leader.subsystem end
  return leaders
end

--- Hands the lead of the consensus group from this node to another voter; returns once it began.
--- ENOTLEADER: the message names the leader.
---@param to string? name of a voter; nil: the one with the longest log
---@return true?
---@return string? message
---@return string? code
function Nodosum:lead_transfer(to)
  return core.lead_transfer(self.node.handle, to)
end

-- ── Keys of gossip ──

--- The ring of keys that seal gossip, the one that seals first: {id, seals, version} each. Keys themselves are never
--- shown.
---@return table[]?
---@return string? message
---@return string? code
function Nodosum:keys()
  return self.node:inspect("keys")
end

--- Changes the ring on all nodes: "install" a key, then "use" it, and "remove" the old one, by their ids; returns once
--- it began.
---@param verb "install"|"use"|"remove"
---@param key string
---@return true?
---@return string? message
---@return string? code
function Nodosum:keys_change(verb, key)
  return core.keys_change(self.node.handle, verb, key)
end

-- ── Policies ──

--- All versions that were applied: {kind, name, version, author, time_ms, source} each, newest last.
---@return table[]?
---@return string? message
---@return string? code
function Nodosum:policies()
  return self.node:inspect("policies")
end

--- Applies a policy to the cluster; it is checked and its examples are run first.
---@param kind string
---@param name string
---@param source string
---@param options { author: string?, timeout: number|string? }?
---@return integer? version
---@return string? message
---@return string? code
function Nodosum:apply_policy(kind, name, source, options)
  local author = options and options.author or self.node.name
  return task.await(
    core.policy_apply, self.node.handle, kind, name, source, author, text.optional_ms(options, "timeout"))
end

--- Goes back to the policy that was in force before.
---@param kind string
---@param options { author: string?, timeout: number|string? }?
---@return integer? version
---@return string? message
---@return string? code
function Nodosum:rollback_policy(kind, options)
  local author = options and options.author or self.node.name
  return task.await(core.policy_rollback, self.node.handle, kind, author, text.optional_ms(options, "timeout"))
end

--- The nodosum of a node.
---@param node myco.node
---@return myco.nodosum
function M.new(node)
  return setmetatable({ node = node }, Nodosum)
end

return M
