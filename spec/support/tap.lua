-- An output handler of busted: TAP as the specs go, and the counts in the last line.

return function()
  local busted = require "busted"
  local handler = require "busted.outputHandlers.base" ()
  local number = 0

  local function comment(text)
    for line in tostring(text):gmatch("[^\n]+") do print("#   " .. line) end
  end

  local function message_of(failure)
    local message = failure.message
    return type(message) == "table" and require("mycorrizal.show").value(message) or message or "no message"
  end

  local function report_last(list)
    local failure = list[#list]
    if not failure then return end
    local trace = failure.element.trace or failure.trace
    if trace and trace.short_src then comment(("%s:%d"):format(trace.short_src, trace.currentline)) end
    comment(message_of(failure))
    if failure.trace and failure.trace.traceback then comment(failure.trace.traceback) end
  end

  function handler.testEnd(element, _, status)
    number = number + 1
    local name = handler.getFullName(element)
    if status == "pending" then
      local last = handler.pendings[#handler.pendings]
      local why = last and type(last.message) == "string" and " " .. last.message or ""
      print(("ok %d - %s # SKIP%s"):format(number, name, why))
    else
      print(("%s %d - %s"):format(status == "success" and "ok" or "not ok", number, name))
    end
    if status == "failure" then report_last(handler.failures) end
    if status == "error" then report_last(handler.errors) end
    io.stdout:flush()
    return nil, true
  end

  function handler.error(element, _, message)
    number = number + 1
    print(("not ok %d - %s: outside of a test"):format(number, element.name or element.descriptor))
    comment(message)
    return nil, true
  end

  function handler.suiteEnd()
    print(("1..%d"):format(number))
    print(("%d passed, %d failed, %d skipped"):format(
      handler.successesCount, handler.failuresCount + handler.errorsCount, handler.pendingsCount))
    return nil, true
  end

  busted.subscribe({ "test", "end" }, handler.testEnd, { predicate = handler.cancelOnPending })
  busted.subscribe({ "suite", "end" }, handler.suiteEnd)
  for _, descriptor in ipairs { "file", "describe", "setup", "teardown", "before_each", "after_each" } do
    busted.subscribe({ "error", descriptor }, handler.error)
    busted.subscribe({ "failure", descriptor }, handler.error)
  end
  return handler
end
