-- Read-through: what a septum lacks is loaded by a function, once for all who ask this node for it meanwhile.

local task <const> = require "mycorrizal.task"

---@class myco.loader
---@field septum myco.septum
local Loader <const> = {}
Loader.__index = Loader
Loader.__tostring = function(self) return ("loader of %s"):format(self.septum.name) end

-- Another node may have been faster: then its value is the one.
local function fly(loader, key)
  local septum = loader.septum
  local item, version, code = septum:get(key)
  if item ~= nil or version then return item, version, code end
  local message
  item, message, code = loader.load(key)
  if item == nil then return nil, message, code end
  version, message, code = septum:put(key, item, { if_absent = true, ttl = loader.ttl })
  if version then return item, version end
  if code ~= "ECONFLICT" then return nil, message, code end
  local theirs, their_version = septum:get(key)
  if theirs == nil then return item end
  return theirs, their_version
end

--- The value of a key; loaded and stored when it is absent. Who asks while it is being loaded waits for the same load:
--- what it returns, and what it raises, is for all of them. nil alone: the function returned nil, nothing is stored.
---@param key string
---@return any value
---@return integer|string|nil version, or message
---@return string? code
function Loader:get(key)
  local item, version, code = self.septum:get(key)
  if item ~= nil or version then return item, version, code end
  local flight = self.flights[key]
  if not flight then
    flight = task.start(fly, self, key)
    self.flights[key] = flight
    flight.on_end[#flight.on_end + 1] = function() self.flights[key] = nil end
  end
  return flight:join()
end

--- Gives septa the method below.
---@param Septum myco.septum
return function(Septum)
  --- A read-through view: load(key) returns the value of a key that is absent, or nil, message, code. It runs in a task
  --- and may wait; at most once at a time for each key and node, and of several nodes the first to store wins.
  ---@param load fun(key: string): any, string?, string?
  ---@param options { ttl: number|string|nil }? how long what it loaded lives; default: as the septum says
  ---@return myco.loader
  function Septum:loader(load, options)
    return setmetatable({ septum = self, load = load, ttl = options and options.ttl, flights = {} }, Loader)
  end
end
