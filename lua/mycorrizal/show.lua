-- Values as people like to read them: one line when it fits, else a line for each field; keys in order.

local M <const> = {}

local WIDTH <const> = 100
local DEPTH_MAX <const> = 8
local ITEMS_MAX <const> = 200

local show

local function show_string(value)
  local escaped = value:gsub('[%c"\\\127]', function(char)
    if char == '"' or char == "\\" then return "\\" .. char end
    if char == "\n" then return "\\n" end
    if char == "\t" then return "\\t" end
    return ("\\x%02x"):format(char:byte())
  end)
  if not utf8.len(escaped) then
    escaped = escaped:gsub("[\128-\255]", function(c) return ("\\x%02x"):format(c:byte()) end)
  end
  return '"' .. escaped .. '"'
end

local RANK <const> = { number = 1, string = 2 }

local function before(a, b)
  local x, y = RANK[type(a)] or 3, RANK[type(b)] or 3
  if x ~= y then return x < y end
  if x == 3 then return tostring(a) < tostring(b) end
  return a < b
end

local function sorted_keys(value)
  local keys = {}
  for key in next, value do keys[#keys + 1] = key end
  table.sort(keys, before)
  return keys
end

local function show_key(key, seen, depth)
  if type(key) == "string" and key:match("^[%a_][%w_]*$") then return key end
  return "[" .. show(key, seen, depth + 1) .. "]"
end

local function show_items(value, seen, depth)
  local items, list_size = {}, rawlen(value)
  for _, key in ipairs(sorted_keys(value)) do
    if #items == ITEMS_MAX then
      items[#items + 1] = "…"
      break
    end
    local item = show(rawget(value, key), seen, depth + 1)
    local in_list = math.type(key) == "integer" and key >= 1 and key <= list_size
    items[#items + 1] = in_list and item or show_key(key, seen, depth) .. " = " .. item
  end
  return items
end

local function show_table(value, seen, depth)
  local meta = getmetatable(value)
  local named = type(meta) == "table" and rawget(meta, "__tostring")
  if named then return tostring(value) end
  if next(value) == nil then return "{}" end
  if seen[value] then return "{…}" end
  if depth >= DEPTH_MAX then return "{…}" end
  seen[value] = true
  local items = show_items(value, seen, depth)
  seen[value] = nil
  local line = "{ " .. table.concat(items, ", ") .. " }"
  if #line + depth * 2 <= WIDTH and not line:find("\n", 1, true) then return line end
  local indent = ("  "):rep(depth + 1)
  return "{\n" .. indent .. table.concat(items, ",\n" .. indent) .. "\n" .. ("  "):rep(depth) .. "}"
end

function show(value, seen, depth)
  if type(value) == "string" then return show_string(value) end
  if type(value) == "table" then return show_table(value, seen, depth) end
  return tostring(value)
end

--- One value as text.
---@param value any
---@return string
function M.value(value)
  return show(value, {}, 0)
end

--- Several, as the results of an evaluation: a plain string stands for itself when it is alone.
---@param ... any
---@return string
function M.values(...)
  local out = {}
  for i = 1, select("#", ...) do out[i] = M.value((select(i, ...))) end
  return table.concat(out, "\t")
end

return M
