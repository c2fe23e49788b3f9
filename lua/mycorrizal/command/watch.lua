-- pulse watch: the committed changes of a septum as they come.

local task <const> = require "mycorrizal.task"

local FOR_EVER <const> = "1h"

local function shown(event)
  if event.message then
    return { kind = event.kind, message = event.message, data = event.kind .. "\t" .. event.message }
  end
  return { kind = event.kind, key = event.key, value = event.value, version = event.version, time_ms = event.time_ms }
end

local function collect(context, args, flags)
  local septum, message, code = context.node.mycel:septum(args.septum)
  if not septum then return nil, message, code end
  local seen, finish, failure = 0, nil, nil
  local watch <close>, why, failed = septum:watch(args.prefix, function(event)
    if flags.count and seen >= flags.count then return end
    seen = seen + 1
    context.emit(shown(event))
    if event.kind == "end" then failure = event end
    if finish and (failure or (flags.count and seen >= flags.count)) then finish(true) end
  end)
  if not watch then return nil, why, failed end
  context.emit({ ready = args.septum, watching = true })
  if not failure and not (flags.count and seen >= flags.count) then
    task.await(function(callback)
      finish = callback
      return true
    end)
  end
  if failure then return nil, failure.message, failure.code end
  return seen
end

local function run(context, args, flags)
  local seen, message, code = task.deadline(flags.timeout or FOR_EVER, collect, context, args, flags)
  if seen then return { items = true } end
  if code ~= "ETIMEDOUT" then return nil, message, code end
  return { items = true, missing = flags.count and ("fewer than %d changes in time"):format(flags.count) or nil }
end

---@type myco.command[]
return {
  {
    name = "watch", summary = "Writes committed changes of keys that begin with PREFIX, as they come.",
    doc = "A line each: kind, key, value. Kinds: put, del, expire; resync: changes were missed that are not kept any "
      .. "more.\nSays on stderr from when on nothing is missed.",
    args = { { "septum" }, { "prefix", optional = true } },
    flags = {
      json = { false, 'as JSON, {"kind", "key", "value", "version", "time_ms"} each' },
      count = { "N", "ends after so many", integer = true },
      timeout = { "TIME", "ends after so long", duration = true },
    },
    missing = "fewer than --count came in time", limit = 3600, run = run,
  },
}
