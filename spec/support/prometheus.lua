-- What the text format of Prometheus allows: a strict reader of expositions.

local M <const> = {}

local NAME <const> = "^[%a_:][%w_:]*$"

local function parse_labels(text)
  local labels, at = {}, 1
  while at <= #text do
    local name, value = text:match('^([%a_][%w_]*)="()', at)
    local stop = assert(value, "no label at " .. text:sub(at))
    while text:sub(stop, stop) ~= '"' do -- to the quote that is not escaped
      assert(stop <= #text, "a value without an end: " .. text)
      local escaped = text:sub(stop, stop) == "\\"
      assert(not escaped or text:sub(stop + 1, stop + 1):match('[\\"n]'), "a wrong escape: " .. text)
      stop = stop + (escaped and 2 or 1)
    end
    assert(not labels[name], "a label twice: " .. text)
    labels[name] = text:sub(value, stop - 1):gsub("\\(.)", function(c) return c == "n" and "\n" or c end)
    at = stop + 1
    assert(at > #text or text:sub(at, at) == ",", "no comma: " .. text)
    at = at + 1
  end
  return labels
end

-- Samples by family, each {labels, value}; raises for what the format does not allow.
---@param text string
---@return table<string, table>
function M.parse(text)
  local families, current, seen = {}, nil, {}
  assert(text:sub(-1) == "\n", "the last line has no end")
  assert(utf8.len(text), "it is no UTF-8")
  for line in text:gmatch("([^\n]*)\n") do
    local word, name, rest = line:match("^# (%u+) (%S+) (.+)$")
    if word == "HELP" then
      assert(not families[name], "a family twice: " .. name)
      families[name] = { help = rest }
    elseif word == "TYPE" then
      assert(families[name] and not families[name].kind, "TYPE without HELP: " .. name)
      assert(rest == "counter" or rest == "gauge", "an unknown type: " .. rest)
      assert((rest == "counter") == (name:match("_total$") ~= nil), "the name does not say its type: " .. name)
      families[name].kind, current = rest, name
    else
      local metric, labels, value = line:match("^([^{ ]+)(%b{}) (%S+)$")
      if not metric then metric, value = line:match("^([^{ ]+) (%S+)$") end
      assert(metric and metric:match(NAME) and metric == current, "a sample outside of its family: " .. line)
      assert(tonumber(value), "no number: " .. line)
      local series = metric .. (labels or "")
      assert(not seen[series], "a series twice: " .. series)
      seen[series] = true
      table.insert(families[metric], { parse_labels((labels or "{}"):sub(2, -2)), tonumber(value) })
    end
  end
  for name, family in pairs(families) do assert(#family > 0, "a family without samples: " .. name) end
  return families
end

-- The first sample of a family whose labels are as wanted; nil: there is none.
---@param families table<string, table>
---@param name string
---@param wanted? table<string, string>
---@return number?
function M.value(families, name, wanted)
  for _, sample in ipairs(families[name] or {}) do
    local fits = true
    for label, value in pairs(wanted or {}) do fits = fits and sample[1][label] == value end
    if fits then return sample[2] end
  end
end

return M
