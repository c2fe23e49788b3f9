-- Watching a septum: the committed changes of a prefix, each once, over failovers and moves.

local core <const> = require "mycorrizal.core"
local task <const> = require "mycorrizal.task"
local value <const> = require "mycorrizal.value"

---@class myco.watch.event
---@field kind string "put", "del", "expire"; "resync": changes were missed, read anew; "end": it is over
---@field key string?
---@field value any of a put
---@field version integer?
---@field time_ms integer?
---@field message string? of resync and end
---@field code string?

---@class myco.watch
---@field prefix string
local Watch <const> = {}
Watch.__index = Watch
Watch.__tostring = function(self) return ("watch of '%s'"):format(self.prefix) end

-- A page that is no change: what it says as an event, or nil.
local function said(page)
  if not page.code then return nil end
  local kind = page.code == "ECOMPACTED" and "resync" or "end"
  return { kind = kind, message = page.message, code = page.code }
end

local function handle(watch, event)
  local ok, raised = xpcall(watch.handler, debug.traceback, event)
  if not ok then core.report(tostring(raised)) end
end

local function work_on(watch, page)
  local note = said(page)
  if note then handle(watch, note) end
  for _, event in ipairs(page) do
    if not watch.held then return end
    if event.value then event.value = value.decode(event.value) end
    handle(watch, event)
  end
end

-- Pages wait in a list: at most one of each hypha, since none is asked for while there is work.
local function work(watch)
  while watch.held and #watch.pages > 0 do
    work_on(watch, table.remove(watch.pages, 1))
    if watch.held and #watch.pages == 0 then core.watch_more(watch.held) end
  end
end

local function start_work(watch)
  if watch.working then return end
  watch.working = true
  local worker = task.start(work, watch)
  worker.on_end[#worker.on_end + 1] = function()
    watch.working = false
    if watch.held and #watch.pages > 0 then start_work(watch) end
  end
end

local function receive(watch, page)
  if page.ready or page.code then
    watch.ready, watch.failure = page.ready, page.code and page.code ~= "ECOMPACTED" and page or nil
    if watch.wake then watch.wake() end
  end
  watch.pages[#watch.pages + 1] = page
  start_work(watch)
end

--- Where it is: give it to a later watch, as `from`. What a handler is at work on counts as seen.
---@return string? token
---@return string? message
---@return string? code
function Watch:token()
  if not self.held then return nil, "the watch is closed", "ECLOSED" end
  return core.watch_token(self.held)
end

--- Ends it: no event is handled after the present one.
function Watch:close()
  local held = self.held
  self.held = nil
  if held then core.release(held) end
end

Watch.__close = Watch.close

--- Gives septa the method below.
---@param Septum myco.septum
return function(Septum)
  --- Calls handler(event) for each committed change of a key with the prefix, one after the other,
  --- in a task: it may wait. From the return on nothing is missed. `from`: the token of an earlier
  --- watch. While the handler is slow, changes wait at their primaries, which keep about 256 KiB of
  --- each hypha; then an event "resync" (ECOMPACTED) says that some were missed.
  ---@param prefix string?
  ---@param handler fun(event: myco.watch.event)
  ---@param options { from: string? }?
  ---@return myco.watch?
  ---@return string? message
  ---@return string? code
  function Septum:watch(prefix, handler, options)
    local watch = setmetatable({ prefix = prefix or "", handler = handler, pages = {} }, Watch)
    local held, message, code = core.watch(
      self.handle, watch.prefix, options and options.from or "", self.node.handle,
      function(page) receive(watch, page) end)
    if not held then return nil, message, code end
    watch.held = held
    while not watch.ready and not watch.failure do
      task.await(function(callback)
        watch.wake = callback
        return true
      end)
    end
    watch.wake = nil
    if not watch.failure then return watch end
    watch:close()
    return nil, watch.failure.message, watch.failure.code
  end
end
