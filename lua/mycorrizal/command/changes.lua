-- Commands that change what is there: incr, append, touch, expire, take.

local JSON <const> = { false, "as JSON" }
local FENCE <const> = { "NAME:EPOCH", "refuse it when a newer epoch of NAME was seen" }

local function missing(args)
  return { missing = ("%s has no key '%s'"):format(args.septum, args.key) }
end

-- run(septum, args, flags) with the septum of the arguments.
local function on_septum(run)
  return function(context, args, flags)
    local septum, message, code = context.node.mycel:septum(args.septum)
    if not septum then return nil, message, code end
    return run(septum, args, flags)
  end
end

-- "never", or a time to live.
local function ttl_of(args)
  if args.ttl == "never" then return false end
  return args.ttl
end

local function number(result, message, code)
  if not result then return nil, message, code end
  return { value = result, text = ("%d\n"):format(result) }
end

local function incr(septum, args, flags)
  return number(septum:incr(args.key, flags.by or 1, {
    initial = flags.initial, ttl = flags.ttl, fence = flags.fence,
  }))
end

local function append(septum, args, flags)
  if args.value == nil then return nil, "append: give a VALUE, or --file", "EINVAL" end
  return number(septum:append(args.key, args.value, { ttl = flags.ttl, fence = flags.fence }))
end

local function shown(args, item, version, code)
  if item == nil and version then return nil, version, code end
  if item == nil then return missing(args) end
  return { value = item, bytes = type(item) == "string" and item or nil }
end

local function touch(septum, args, flags)
  return shown(args, septum:touch(args.key, ttl_of(args), { fence = flags.fence }))
end

local function expire(septum, args, flags)
  local done, message, code = septum:expire(args.key, ttl_of(args), { fence = flags.fence })
  if done == nil then return nil, message, code end
  if not done then return missing(args) end
  return { value = { done = true }, text = "" }
end

local function take(septum, args, flags)
  return shown(args, septum:take(args.key, { if_version = flags["if-version"], fence = flags.fence }))
end

local TTL <const> = { "TIME", "and it lives for so long: seconds, or 10m, 30d", duration = true }

---@type myco.command[]
return {
  {
    name = "incr", summary = "Adds 1, or --by N, to a counter and writes the sum.",
    args = { { "septum" }, { "key" } },
    flags = {
      json = JSON, fence = FENCE, ttl = TTL, by = { "N", "a whole number; --by=-1 counts down", integer = true },
      initial = { "N", "where one that is absent begins; default 0", integer = true },
    },
    run = on_septum(incr),
  },
  {
    name = "append", summary = "Adds bytes to the end of a value and writes its size.",
    args = { { "septum" }, { "key" }, { "value", optional = true } },
    flags = {
      json = JSON, fence = FENCE, ttl = TTL,
      file = { "FILE", "what this file holds; - is stdin", file = "value" },
    },
    run = on_septum(append),
  },
  {
    name = "touch", summary = "Writes a value, and lets it live for TTL from now (never: for ever).",
    args = { { "septum" }, { "key" }, { "ttl", optional = true } }, flags = { json = JSON, fence = FENCE },
    missing = "there is no such key", run = on_septum(touch),
  },
  {
    name = "expire", summary = "Lets a value live for TTL from now (never: for ever; default: the septum's).",
    args = { { "septum" }, { "key" }, { "ttl", optional = true } }, flags = { json = JSON, fence = FENCE },
    missing = "there is no such key", run = on_septum(expire),
  },
  {
    name = "take", summary = "Deletes a key and writes the value that it had.",
    args = { { "septum" }, { "key" } },
    flags = { json = JSON, fence = FENCE, ["if-version"] = { "V", "only when this is its version", integer = true } },
    missing = "there is no such key", run = on_septum(take),
  },
}
