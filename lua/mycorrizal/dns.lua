-- DNS messages (RFC 1035, 2782, 3596), as far as asking for addresses and services needs them.
--
--     id, flags, 4 counts | question: name, type, class | answers … | authority … | additional …
--
-- A name is labels with their lengths, and may end in a pointer to an earlier one. What comes in is
-- anybody's: a pointer has to go backwards, and every length and count is bounded by what is there.

local M <const> = {}

M.TYPES = { A = 1, CNAME = 5, AAAA = 28, SRV = 33 }
M.CODES = { [0] = "no error", "malformed query", "the server failed", "there is no such name", "not implemented",
  "refused" }

local NAME_MAX <const> = 254
local RECORDS_MAX <const> = 512
local TYPE_NAMES <const> = {}
for name, number in pairs(M.TYPES) do TYPE_NAMES[number] = name end

-- ── Names ──

local function pack_name(name)
  local parts, size = {}, 0
  for label in name:gsub("%.$", ""):gmatch("[^.]*") do
    if #label == 0 or #label > 63 then return nil end
    size = size + #label + 1
    parts[#parts + 1] = string.char(#label) .. label
  end
  if size > NAME_MAX then return nil end
  return table.concat(parts) .. "\0"
end

-- The name at `at`, in lower case, and where it ends; nil when it is none.
local function read_name(bytes, at)
  local labels, size, after, before = {}, 0, nil, at
  while true do
    local length = bytes:byte(at)
    if not length then return nil end
    if length == 0 then return table.concat(labels, "."):lower(), after or at + 1 end
    if length >= 0xC0 then
      local low = bytes:byte(at + 1)
      local target = low and ((length & 0x3F) << 8 | low) + 1
      if not target or target >= before then return nil end
      after, at, before = after or at + 2, target, target
    else
      local label = bytes:sub(at + 1, at + length)
      size = size + length + 1
      if length > 63 or #label < length or size > NAME_MAX or label:find("[%c%s.\127-\255]") then return nil end
      labels[#labels + 1] = label
      at = at + length + 1
    end
  end
end

-- ── Asking ──

--- A query. nil, message, code for what is no name.
---@param id integer 16 bits
---@param name string
---@param kind "A"|"AAAA"|"SRV"
---@return string?
---@return string? message
---@return string? code
function M.query(id, name, kind)
  local packed = pack_name(name)
  if not packed then return nil, ("'%s' is no name"):format(name), "EINVAL" end
  return string.pack(">I2I2I2I2I2I2", id, 0x0100, 1, 0, 0, 0) .. packed .. string.pack(">I2I2", M.TYPES[kind], 1)
end

-- ── Answers ──

local function ipv6(data)
  local groups = {}
  for i = 1, 16, 2 do groups[#groups + 1] = ("%x"):format(data:byte(i) << 8 | data:byte(i + 1)) end
  return table.concat(groups, ":")
end

-- What a record says; nil: malformed.
local READERS <const> = {
  A = function(record, bytes, at, size)
    if size ~= 4 then return nil end
    record.address = ("%d.%d.%d.%d"):format(bytes:byte(at, at + 3))
    return record
  end,
  AAAA = function(record, bytes, at, size)
    if size ~= 16 then return nil end
    record.address = ipv6(bytes:sub(at, at + 15))
    return record
  end,
  CNAME = function(record, bytes, at, size)
    local after
    record.target, after = read_name(bytes, at)
    return record.target and after == at + size and record or nil
  end,
  SRV = function(record, bytes, at, size)
    if size < 7 then return nil end
    record.priority, record.weight, record.port = string.unpack(">I2I2I2", bytes, at)
    local after
    record.target, after = read_name(bytes, at + 6)
    return record.target and after == at + size and record or nil
  end,
}

-- The record at `at` and where the next one begins; nil: malformed.
local function read_record(bytes, at)
  local name, after = read_name(bytes, at)
  if not name or after + 9 > #bytes then return nil end
  local kind, class, ttl, size = string.unpack(">I2I2I4I2", bytes, after)
  local data = after + 10
  if data + size - 1 > #bytes then return nil end
  local record = { name = name, type = TYPE_NAMES[kind], ttl = ttl }
  if record.type and class == 1 then
    if not READERS[record.type](record, bytes, data, size) then return nil end
  else
    record.type = nil
  end
  return record, data + size
end

local function read_records(bytes, at, count)
  local records = {}
  for _ = 1, count do
    local record
    record, at = read_record(bytes, at)
    if not record then return nil end
    if record.type then records[#records + 1] = record end
  end
  return records, at
end

---@class myco.dns.answer
---@field id integer
---@field truncated boolean what is missing can be had over TCP
---@field code integer 0: fine; 3: no such name
---@field name string of the question
---@field type string?
---@field records table[] {name, type, ttl, address | target | priority, weight, port, target}

--- Reads a response; nil: it is none.
---@param bytes string
---@return myco.dns.answer?
function M.decode(bytes)
  if #bytes < 12 then return nil end
  local id, flags, questions, answers, authority, additional = string.unpack(">I2I2I2I2I2I2", bytes)
  if flags & 0x8000 == 0 or questions ~= 1 or answers + authority + additional > RECORDS_MAX then return nil end
  local name, at = read_name(bytes, 13)
  if not name or at + 3 > #bytes then return nil end
  local answer = {
    id = id, truncated = flags & 0x0200 ~= 0, code = flags & 15, name = name,
    type = TYPE_NAMES[string.unpack(">I2", bytes, at)], records = {},
  }
  if answer.truncated then return answer end -- what is there of the records may end anywhere
  answer.records = read_records(bytes, at + 4, answers)
  return answer.records and answer or nil
end

--- The records of a type that answer the question, through at most 16 aliases.
---@param answer myco.dns.answer
---@param kind string
---@return table[]
function M.pick(answer, kind)
  local found, name = {}, answer.name
  for _ = 1, 16 do
    local alias
    for _, record in ipairs(answer.records) do
      if record.name == name and record.type == kind then found[#found + 1] = record end
      if record.name == name and record.type == "CNAME" then alias = record.target end
    end
    if #found > 0 or not alias then break end
    name = alias
  end
  return found
end

return M
