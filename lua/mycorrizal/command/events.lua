-- Commands of the cytoplasm: pub, sub, request.

local task <const> = require "mycorrizal.task"
local text <const> = require "mycorrizal.text"

local JSON <const> = { false, "as JSON" }
local SUB_FOR_EVER <const> = "1h"

local function publish(context, args, flags)
  local ok, message, code = context.node.cytoplasm:publish(args.subject, args.data, { fence = flags.fence })
  if not ok then return nil, message, code end
  return { value = { published = true }, text = "" }
end

local function request(context, args, flags)
  local answer, message, code = context.node.cytoplasm:request(
    args.subject, args.data or "", { timeout = flags.timeout })
  if message then return nil, message, code end
  if type(answer) == "string" then return { value = answer, bytes = answer } end
  return { value = answer }
end

-- Messages as they come, until `count` came or the time is over.
local function collect(context, args, flags)
  local seen, enough = 0, nil
  local subscription <close>, message, code = context.node.cytoplasm:subscribe(args.subject, function(msg)
    if flags.count and seen >= flags.count then return end
    seen = seen + 1
    context.emit({ subject = msg.subject, data = msg.data })
    if flags.count and seen >= flags.count and enough then enough(true) end
  end, { queue = flags.queue })
  if not subscription then return nil, message, code end
  context.node.cytoplasm:flush()
  context.emit({ ready = args.subject })
  if flags.count and seen >= flags.count then return seen end
  task.await(function(callback)
    enough = callback
    return true
  end)
  return seen
end

local function subscribe(context, args, flags)
  local seen, message, code = task.deadline(flags.timeout or SUB_FOR_EVER, collect, context, args, flags)
  if seen then return { items = true } end
  if code ~= "ETIMEDOUT" then return nil, message, code end
  if not flags.timeout then return { items = true } end
  local limit = ("%g s"):format(text.duration_ms(flags.timeout) / 1000)
  return {
    items = true,
    missing = flags.count and ("fewer than %d messages within %s"):format(flags.count, limit) or nil,
  }
end

---@type myco.command[]
return {
  {
    name = "pub", summary = "Publishes a message.",
    args = { { "subject" }, { "data" } },
    flags = { json = JSON, fence = { "NAME:EPOCH", "refuse it where a newer epoch of NAME is known", fence = true } },
    run = publish,
  },
  {
    name = "sub", summary = "Writes messages as they come: the data of each, a line each.",
    doc = "Says on stderr when the subscription is known to all connected nodes.",
    args = { { "subject" } },
    flags = {
      json = { false, 'as JSON, {"subject", "data"} each' },
      count = { "N", "ends after so many", integer = true },
      timeout = { "TIME", "ends after so long", duration = true },
      queue = { "GROUP", "shares the messages with the others of this group" },
    },
    missing = "fewer than --count came in time", limit = 3600, run = subscribe,
  },
  {
    name = "request", summary = "Publishes a message and writes the first answer.",
    args = { { "subject" }, { "data", optional = true } },
    flags = { json = JSON, timeout = { "TIME", "how long to wait", duration = true } }, run = request,
  },
}
