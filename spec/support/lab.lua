-- scripts/lab for specs: a network of namespaces whose links can be cut and slowed, with nodes n1 … nN on it.

local client <const> = require "pulse.client"
local helper <const> = require "spec.support.helper"
local loop <const> = require "mycorrizal.io.loop"
local task <const> = require "mycorrizal.task"
local uv <const> = require "luv"

local M <const> = {}

local LIMIT <const> = 60

---@class lab
---@field folder string
---@field names string[]
---@field silent table<string, string> nodes that are paused or killed: the word that ends it
local Lab <const> = {}
Lab.__index = Lab

local function run(folder, words)
  local process = helper.spawn({ "/usr/bin/env", "MYCO_LAB=" .. folder, "scripts/lab", table.unpack(words) })
  local status = task.deadline(LIMIT, function() return process:wait_end() end)
  if not status then process:kill("sigkill") end
  return status or -1, process.out, process.err
end

--- Why no lab can be made here; nil: one can.
---@return string?
function M.why_not()
  local status, out = run("/nowhere", { "check" })
  if status ~= 0 then return (out:gsub("\n$", "")) end
  if not uv.fs_stat("/dev/net/tun") then return "there is no /dev/net/tun, so links can't be slowed" end
end

--- Makes a lab and starts nodes; raises when it can't.
---@param count integer
---@param ... string more words of `scripts/lab up`
---@return lab
function M.up(count, ...)
  local folder = helper.new_folder()
  local self = setmetatable({ folder = folder .. "/lab", outer = folder, names = {}, silent = {} }, Lab)
  for i = 1, count do self.names[i] = "n" .. i end
  self:run("up", tostring(count), "--bin", M.bin(), ...)
  return self
end

function M.bin()
  return helper.build:sub(1, 1) == "/" and helper.build .. "/bin" or uv.cwd() .. "/" .. helper.build .. "/bin"
end

local ENDED_BY <const> = { pause = "resume", kill = "start" }

--- Runs `scripts/lab WORDS…`; raises when it fails.
---@return string out
function Lab:run(...)
  local word, name = ...
  if ENDED_BY[word] then self.silent[name] = ENDED_BY[word] end
  if self.silent[name or ""] == word then self.silent[name] = nil end
  local status, out, err = run(self.folder, { ... })
  if status ~= 0 then error(("lab %s: %s%s"):format(table.concat({ ... }, " "), out, err), 2) end
  return out
end

--- Ends what an earlier test left: cuts, pauses, deaths.
function Lab:repair()
  self:run("heal")
  for name, word in pairs(self.silent) do
    self:run(word, name)
    self.silent[name] = nil
  end
end

function Lab:down()
  self:run("down")
  helper.remove(self.outer)
end

function Lab:log(name)
  local file <close> = assert(io.open(("%s/%s.log"):format(self.folder, name), "rb"))
  return file:read("a")
end

-- ── What nodes say ──

--- A connection to a node's socket, which does not pass through the lab's network.
function Lab:connect(name)
  return assert(client.connect(("%s/%s.myco/pulse.sock"):format(self.folder, name)))
end

--- One command of pulse on a node; nil, message, code when it fails. A paused node is not asked.
function Lab:ask(name, command, args, flags)
  if self.silent[name] then return nil, name .. " does not run", "ENOTCONN" end
  local connection, message, code = client.connect(("%s/%s.myco/pulse.sock"):format(self.folder, name))
  if not connection then return nil, message, code end
  local answer
  answer, message, code = connection:request({
    op = "command", name = command, args = args or {}, flags = flags or {}, limit = 10,
  })
  connection:close()
  if not answer then return nil, message, code end
  local value = answer.result.value
  return value == nil and true or value
end

--- The elections by name, as a node knows them.
function Lab:leaders(name)
  local by_name = {}
  for _, leader in ipairs(self:ask(name, "leaders") or {}) do by_name[leader.subsystem] = leader end
  return by_name
end

--- What a node says of another one: alive, suspect, dead.
function Lab:state_of(name, at)
  for _, member in ipairs(self:ask(at, "nodes") or {}) do
    if member.name == name then return member.state end
  end
end

local function all_see_all(self)
  for _, at in ipairs(self.names) do
    for _, name in ipairs(self.names) do
      if self:state_of(name, at) ~= "alive" then return false end
    end
  end
  return true
end

--- Until every node says that every one is alive, and all agree on who leads.
function Lab:wait_whole()
  helper.wait_until("all nodes to be alive for all", 20, function() return all_see_all(self) end)
  helper.wait_until("all nodes to agree on the leaders", 20, function()
    local first = self:leaders(self.names[1])
    for _, name in ipairs(self.names) do
      local here = self:leaders(name)
      for subsystem, leader in pairs(first) do
        if (here[subsystem] or {}).leader ~= leader.leader or leader.leader == "" then return false end
      end
    end
    return next(first) ~= nil
  end)
end

-- ── Those who write ──

local function write_on(writer)
  while not writer.stop do
    local number = writer.count + 1
    local stored, message, code = writer.connection:request({
      op = "command", name = "put", limit = 8, flags = {},
      args = { septum = writer.septum, key = writer.key, value = ("%d"):format(number) },
    })
    if stored then
      writer.count, writer.last_ms = number, loop.now_ms()
    else
      writer.refused = writer.refused + 1
      writer.said = ("%s (%s)"):format(message, code)
      task.sleep("5ms")
    end
  end
end

--- Writes 1, 2, … to one key through a node, each after the last was answered. Fields: count (acknowledged),
--- last_ms (when, on loop.now_ms()), refused, said. finish() ends it.
function Lab:writer(name, septum, key)
  local writer = { connection = self:connect(name), septum = septum, key = key, count = 0, refused = 0 }
  writer.task = task.spawn(write_on, writer)
  function writer.wait(more, seconds)
    local goal = writer.count + more
    helper.wait_until(("%d more writes through %s (%s)"):format(more, name, tostring(writer.said)), seconds,
      function() return writer.count >= goal end)
  end
  function writer.finish()
    writer.stop = true
    writer.task:join()
    writer.connection:close()
  end
  return writer
end

return M
