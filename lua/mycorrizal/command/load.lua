-- pulse load: many records from a file of JSON lines, several chunks under way at a time.

local json <const> = require "mycorrizal.json"
local task <const> = require "mycorrizal.task"

local CHUNK_RECORDS <const> = 500
local CHUNK_SIZE <const> = 1 << 20
local CHUNKS_MAX <const> = 4
local TELL_EVERY <const> = 10000

local function parse(line, number)
  local record, message = json.decode(line)
  if message then return nil, ("line %d: %s"):format(number, message) end
  if type(record) ~= "table" or type(record.key) ~= "string" or record.value == nil then
    return nil, ('line %d is not {"key": "…", "value": …}'):format(number)
  end
  return { record.key, record.value }
end

--- The next records of the file: up to a chunk; an empty list at the end.
local function next_chunk(file, state)
  local records, size = {}, 0
  while #records < CHUNK_RECORDS and size < CHUNK_SIZE do
    local line = file:read("l")
    if not line then break end
    state.lines = state.lines + 1
    if line:match("%S") then
      local record, message = parse(line, state.lines)
      if not record then return nil, message end
      records[#records + 1] = record
      size = size + #line
    end
  end
  return records
end

local function tell(context, state, last)
  if not last and state.stored < state.told + TELL_EVERY then return end
  state.told = state.stored
  context.note(("%d records stored"):format(state.stored))
end

-- Each worker sends one chunk after the other; the first failure ends all.
local function work(context, file, septum, state)
  while not state.failure do
    local records, message = next_chunk(file, state)
    if not records then state.failure = { message, "EINVAL" } break end
    if #records == 0 then break end
    local reply, why, code = context.client:request({ op = "load", septum = septum, records = records, limit = 600 })
    if not reply then state.failure = { why, code } break end
    state.stored = state.stored + reply.stored
    tell(context, state, false)
  end
end

local function load(context, args)
  local file, message = io.stdin, nil
  if args.file ~= "-" then file, message = io.open(args.file, "rb") end
  if not file then return nil, message, "ENOTFOUND" end
  local state, workers = { lines = 0, stored = 0, told = 0 }, {}
  for i = 1, CHUNKS_MAX do workers[i] = task.spawn(work, context, file, args.septum, state) end
  for _, worker in ipairs(workers) do worker:join() end
  if args.file ~= "-" then file:close() end
  tell(context, state, true)
  if state.failure then
    return nil, ("after %d records: %s"):format(state.stored, state.failure[1]), state.failure[2]
  end
  return { value = { stored = state.stored }, text = "" }
end

---@type myco.command[]
return {
  {
    name = "load", summary = 'Stores many records: a line {"key": "…", "value": …} each. Progress is told on stderr.',
    doc = "A value that is a string is stored as it is, any other as a Lua value. FILE may be - for stdin.",
    args = { { "septum" }, { "file" } }, flags = { json = { false, "as JSON" } }, client = load,
  },
}
