-- Commands on keys: get, put, del, count, scan.

local JSON <const> = { false, "as JSON" }
local FENCE <const> = { "NAME:EPOCH", "refuse it when a newer epoch of NAME was seen", fence = true }
local SCAN_LIMIT <const> = 1000
local SCAN_PAGE <const> = 256

local value <const> = require "mycorrizal.value"

local function open(context, args)
  return context.node.mycel:septum(args.septum)
end

local function get(context, args, flags)
  local septum, message, code = open(context, args)
  if not septum then return nil, message, code end
  local bytes, version, expires = septum:get_bytes(args.key, { fence = flags.fence })
  if not bytes and version then return nil, version, expires end
  if not bytes then return { missing = ("%s has no key '%s'"):format(args.septum, args.key) } end
  local item = value.decode(bytes)
  if type(item) == "string" then return { value = item, bytes = item } end
  return { value = item }
end

local function put(context, args, flags)
  if args.value == nil then return nil, "put: give a VALUE, or --file", "EINVAL" end
  local septum, message, code = open(context, args)
  if not septum then return nil, message, code end
  local version
  version, message, code = septum:put(args.key, args.value, {
    ttl = flags.ttl, if_absent = flags["if-absent"], if_version = flags["if-version"], fence = flags.fence,
  })
  if not version then return nil, message, code end
  return { value = { version = version }, text = "" }
end

local function del(context, args, flags)
  local septum, message, code = open(context, args)
  if not septum then return nil, message, code end
  local deleted
  deleted, message, code = septum:del(args.key, { if_version = flags["if-version"], fence = flags.fence })
  if deleted == nil then return nil, message, code end
  if not deleted then return { missing = ("%s has no key '%s'"):format(args.septum, args.key) } end
  return { value = { deleted = true }, text = "" }
end

local function count(context, args)
  local septum, message, code = open(context, args)
  if not septum then return nil, message, code end
  local number
  number, message, code = septum:count(args.prefix)
  if not number then return nil, message, code end
  return { value = number, text = ("%d\n"):format(number) }
end

local function emit_page(context, page, left)
  for i = 1, math.min(#page, left * 3), 3 do
    context.emit({ key = page[i], value = value.decode(page[i + 1]), version = page[i + 2] })
    left = left - 1
  end
  return left
end

local function scan(context, args, flags)
  local septum, message, code = open(context, args)
  if not septum then return nil, message, code end
  local left, cursor = flags.limit or SCAN_LIMIT, nil
  while left > 0 and cursor ~= "" do
    local page, next_cursor, failure = septum:page(args.prefix, cursor, { limit = math.min(SCAN_PAGE, left) })
    if not page then return nil, next_cursor, failure end
    left, cursor = emit_page(context, page, left), next_cursor
  end
  return { items = true }
end

---@type myco.command[]
return {
  {
    name = "get", summary = "Writes the value of a key to stdout: strings unchanged, other values as JSON.",
    args = { { "septum" }, { "key" } }, flags = { json = JSON, fence = FENCE },
    missing = "there is no such key", run = get,
  },
  {
    name = "put", summary = "Stores a value.", args = { { "septum" }, { "key" }, { "value", optional = true } },
    flags = {
      json = JSON, fence = FENCE,
      ttl = { "TIME", "how long it lives: seconds, or 10m, 30d", duration = true },
      ["if-absent"] = { false, "only when there is no such key" },
      ["if-version"] = { "V", "only when this is its version", integer = true },
      file = { "FILE", "the value is what this file holds; - is stdin", file = "value" },
    },
    run = put,
  },
  {
    name = "del", summary = "Deletes a key.", args = { { "septum" }, { "key" } },
    flags = { json = JSON, fence = FENCE, ["if-version"] = { "V", "only when this is its version", integer = true } },
    missing = "there is no such key", run = del,
  },
  {
    name = "count", summary = "How many keys a septum has, that begin with PREFIX.",
    args = { { "septum" }, { "prefix", optional = true } }, flags = { json = JSON },
    run = count,
  },
  {
    name = "scan", summary = "The keys that begin with PREFIX, and their values: a line each.",
    args = { { "septum" }, { "prefix", optional = true } },
    flags = { json = JSON, limit = { "N", "at most so many; default 1000", integer = true } },
    run = scan,
  },
}
