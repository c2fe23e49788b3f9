-- Results as people, and programs, like to read them.

local json <const> = require "mycorrizal.json"
local show <const> = require "mycorrizal.show"

local M <const> = {}

local function cell(value)
  if value == nil then return "-" end
  if type(value) ~= "table" then return tostring(value) end
  if not json.is_array(value) then return show.value(value) end
  local parts = {}
  for i, item in ipairs(value) do parts[i] = cell(item) end
  return #parts > 0 and table.concat(parts, ",") or "-"
end

local function pad(text, width)
  return text .. (" "):rep(width - (utf8.len(text) or #text))
end

--- Rows as aligned columns, under their names in capitals.
---@param rows table[]
---@param columns string[]
---@return string
function M.columns(rows, columns)
  local lines, widths = {}, {}
  local header = {}
  for i, name in ipairs(columns) do header[i] = name:upper() end
  lines[1] = header
  for _, row in ipairs(rows) do
    local line = {}
    for i, name in ipairs(columns) do line[i] = cell(row[name]) end
    lines[#lines + 1] = line
  end
  for _, line in ipairs(lines) do
    for i, text in ipairs(line) do widths[i] = math.max(widths[i] or 0, utf8.len(text) or #text) end
  end
  for at, line in ipairs(lines) do
    for i, text in ipairs(line) do line[i] = i < #line and pad(text, widths[i]) or text end
    lines[at] = table.concat(line, "  ")
  end
  return table.concat(lines, "\n") .. "\n"
end

--- A line for each field, in order.
---@param fields table
---@return string
function M.fields(fields)
  local names, width, lines = {}, 0, {}
  for name in pairs(fields) do
    names[#names + 1] = name
    width = math.max(width, #name)
  end
  table.sort(names)
  for i, name in ipairs(names) do lines[i] = pad(name, width + 2) .. cell(fields[name]) end
  return table.concat(lines, "\n") .. "\n"
end

--- The text of a command's result, as JSON or for people.
---@param result table
---@param as_json boolean?
---@return string
function M.result(result, as_json)
  if result.items then return "" end
  if as_json then return json.encode(result.value) .. "\n" end
  if result.bytes then return result.bytes end
  if result.text then return result.text end
  if result.columns then
    return (result.head and result.head .. "\n" or "") .. M.columns(result.rows or result.value, result.columns)
  end
  if result.fields then return M.fields(result.value) end
  return json.encode(result.value) .. "\n"
end

--- The text of one item of a stream of items.
---@param item table
---@param as_json boolean?
---@return string
function M.item(item, as_json)
  if as_json then return json.encode(item) .. "\n" end
  local content = item.value
  if content == nil then content = item.data end
  local text = type(content) == "string" and content or content ~= nil and json.encode(content) or ""
  if item.kind and item.key then return ("%s\t%s\t%s\n"):format(item.kind, item.key, text) end
  return item.key and ("%s\t%s\n"):format(item.key, text) or text .. "\n"
end

return M
