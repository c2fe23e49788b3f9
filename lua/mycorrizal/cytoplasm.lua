-- Cytoplasm, events: publish, subscribe, request.

local core <const> = require "mycorrizal.core"
local fence <const> = require "mycorrizal.fence"
local task <const> = require "mycorrizal.task"
local text <const> = require "mycorrizal.text"
local value <const> = require "mycorrizal.value"

local M <const> = {}

---@class myco.cytoplasm
local Cytoplasm <const> = {}
Cytoplasm.__index = Cytoplasm
Cytoplasm.__tostring = function() return "cytoplasm" end

---@class myco.message
---@field subject string
---@field data any
---@field reply string? where an answer is waited for
---@field publisher integer node id
---@field fence myco.fence? that the publisher showed
local Message <const> = {}
Message.__index = Message

---@class myco.subscription
---@field subject string
---@field dropped integer messages that came while QUEUE_MAX waited for the handler
local Subscription <const> = {}
Subscription.__index = Subscription
Subscription.__tostring = function(self) return ("subscription to %s"):format(self.subject) end

local QUEUE_MAX <const> = 65536

--- Answers a request.
---@param item any
---@return true?
---@return string? message
---@return string? code
function Message:respond(item)
  if not self.reply then return nil, "no answer is wanted", "EINVAL" end
  return self.cytoplasm:publish(self.reply, item)
end

-- ── Subscriptions: a queue, and a task that works on it while there is something in it ──

local function handle(subscription, msg)
  local answer = subscription.handler(msg)
  if answer ~= nil and msg.reply then msg:respond(answer) end
end

local function work(subscription)
  while subscription.first <= subscription.last and subscription.held do
    local msg = subscription.queue[subscription.first]
    subscription.queue[subscription.first] = nil
    subscription.first = subscription.first + 1
    local ok, raised = xpcall(handle, debug.traceback, subscription, msg)
    if not ok then core.report(tostring(raised)) end
  end
end

local function start_work(subscription)
  if subscription.working then return end
  subscription.working = true
  local worker = task.start(work, subscription)
  worker.on_end[#worker.on_end + 1] = function()
    subscription.working = false
    if subscription.first <= subscription.last and subscription.held then start_work(subscription) end
  end
end

local function receive(subscription, msg)
  if subscription.last - subscription.first + 1 >= QUEUE_MAX then
    if subscription.dropped == 0 then
      core.report(("%s: its handler is too slow, messages are dropped"):format(subscription))
    end
    subscription.dropped = subscription.dropped + 1
    return
  end
  msg.data, msg.cytoplasm = value.decode(msg.data), subscription.cytoplasm
  subscription.last = subscription.last + 1
  subscription.queue[subscription.last] = setmetatable(msg, Message)
  start_work(subscription)
end

--- Calls handler(msg) for each message, one after the other, in a task: it may wait. What it
--- returns answers a request. An error of the handler is logged, and the next message is handled.
--- In subjects `*` stands for one token, `>` for the rest.
---@param subject string
---@param handler fun(msg: myco.message): any
---@param options { queue: string? }?
---@return myco.subscription?
---@return string? message
---@return string? code
function Cytoplasm:subscribe(subject, handler, options)
  local subscription = setmetatable({
    subject = subject, handler = handler, cytoplasm = self, queue = {}, first = 1, last = 0, dropped = 0,
  }, Subscription)
  local held, message, code = core.subscribe(self.node.handle, subject, options and options.queue, function(msg)
    receive(subscription, msg)
  end)
  if not held then return nil, message, code end
  subscription.held = held
  return subscription
end

--- Ends it: no message is handled after the present one.
function Subscription:unsubscribe()
  if self.held then core.release(self.held) end
  self.held = nil
end

Subscription.close = Subscription.unsubscribe
Subscription.__close = Subscription.unsubscribe

-- ── Publishing ──

--- At most once, to all who subscribe now. EFULL: a subscriber's node can't take more. With a fence (a
--- duty, a lock, { name =, epoch = } or "NAME:EPOCH") EFENCED once a newer epoch is known here; nodes
--- that know one drop the message.
---@param subject string
---@param item any
---@param options { reply: string?, fence: any }?
---@return true?
---@return string? message
---@return string? code
function Cytoplasm:publish(subject, item, options)
  local bytes, message, code = value.encode(item)
  if not bytes then return nil, message, code end
  local name, epoch = fence.of(options)
  return core.publish(self.node.handle, subject, bytes, options and options.reply, name, epoch)
end

--- The first answer. ENORESPONDERS when nobody subscribes.
---@param subject string
---@param item any
---@param options { timeout: number|string? }?
---@return any answer
---@return string? message
---@return string? code
function Cytoplasm:request(subject, item, options)
  local bytes, message, code = value.encode(item)
  if not bytes then return nil, message, code end
  local answer
  answer, message, code = task.await(
    core.request, self.node.handle, subject, bytes, text.optional_ms(options, "timeout"))
  if not answer then return nil, message, code end
  return value.decode(answer)
end

--- Waits until all connected nodes know this node's subscriptions.
---@param options { timeout: number|string? }?
---@return true?
---@return string? message
---@return string? code
function Cytoplasm:flush(options)
  return task.await(core.flush, self.node.handle, text.optional_ms(options, "timeout"))
end

--- The cytoplasm of a node.
---@param node myco.node
---@return myco.cytoplasm
function M.new(node)
  return setmetatable({ node = node }, Cytoplasm)
end

return M
