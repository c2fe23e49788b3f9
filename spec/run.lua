-- Runs the specs by busted inside this program: mycorrizal lua spec/run.lua [BUSTED'S OPTIONS] [PATH…]
-- This file is a task, and so is every `it`: what waits may be called there as it is.

package.path = "./?.lua;" .. package.path

-- busted empties package.loaded between files: what is loaded by now stays one and the same.
local LASTING <const> = {
  "luv", "mycorrizal", "mycorrizal.json", "mycorrizal.show", "mycorrizal.policies", "mycorrizal.io.frame",
  "mycorrizal.io.stream", "mycorrizal.command", "mycorrizal.io.process", "spec.support.helper",
}
for _, name in ipairs(LASTING) do require(name) end

local FOLDERS <const> = { "spec/unit", "spec/bridge", "spec/modules", "spec/pulse", "spec/flow" }

local function has_specs(folder)
  local entries = require("luv").fs_scandir(folder)
  return entries and require("luv").fs_scandir_next(entries) ~= nil
end

local seed = os.getenv("SPEC_SEED") or tostring(math.random(1, 1 << 30))
local words = { "--shuffle", "--seed=" .. seed, "--output=spec/support/tap.lua", "--pattern=_spec%.lua$" }
local given = { ... }
table.move(given, 1, #given, #words + 1, words)
if #given == 0 or given[#given]:match("^%-") then
  for _, folder in ipairs(FOLDERS) do
    if has_specs(folder) then words[#words + 1] = folder end
  end
end

-- busted ends the program itself; here it must not, for what is open is closed first.
local ENDED <const> = {}
local status = 0
os.exit = function(code) -- luacheck: ignore 122
  status = code == true and 0 or code == false and 1 or code or 0
  error(ENDED, 0)
end

_G.arg = words
_G.arg[0] = "scripts/spec"
print("# seed " .. seed .. " (SPEC_SEED=" .. seed .. " repeats the order)")
local ok, raised = xpcall(require "busted.runner", function(raised)
  return raised == ENDED and raised or debug.traceback(tostring(raised), 2)
end, { standalone = false })
if not ok and raised ~= ENDED then
  print("not ok 0 - busted itself: " .. tostring(raised))
  return 2
end
return status
