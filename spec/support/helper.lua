-- What specs share: folders that go away, nodes here and as processes, pulse, and handles that must not stay open.

local json <const> = require "mycorrizal.json"
local loop <const> = require "mycorrizal.io.loop"
local myco <const> = require "mycorrizal"
local process_module <const> = require "mycorrizal.io.process"
local task <const> = require "mycorrizal.task"
local uv <const> = require "luv"

local M <const> = {}

M.build = os.getenv("SPEC_BUILD") or "build/debug"

-- ── Waiting and processes ──

--- Asks again and again until `ask()` returns something true, which is returned; raises after `seconds`.
---@param what string for the message
---@param seconds number
---@param ask fun(): any
---@return any
function M.wait_until(what, seconds, ask)
  local found = task.deadline(seconds, function()
    local answer = ask()
    while not answer do
      task.sleep("10ms")
      answer = ask()
    end
    return answer
  end)
  return found or error(("waited %g s for %s"):format(seconds, what), 2)
end

--- Starts a program; raises when it can't be.
---@param argv string[]
---@param options table?
---@return myco.process
function M.spawn(argv, options)
  return assert(process_module.spawn(argv, options))
end

-- ── Folders ──

local function remove(path)
  local stat = uv.fs_lstat(path)
  if not stat then return end
  if stat.type ~= "directory" then return uv.fs_unlink(path) end
  local entries = uv.fs_scandir(path)
  while entries do
    local name = uv.fs_scandir_next(entries)
    if not name then break end
    remove(path .. "/" .. name)
  end
  uv.fs_rmdir(path)
end

M.remove = remove

--- A fresh folder; remove it with M.remove().
---@return string
function M.new_folder()
  return assert(uv.fs_mkdtemp("/tmp/myco-spec-XXXXXX"))
end

--- Writes a file and returns its path.
---@param path string
---@param content string
---@return string
function M.write(path, content)
  local file <close> = assert(io.open(path, "wb"))
  file:write(content)
  return path
end

-- ── Nodes ──

--- A node in this process that is ready.
---@param folder string
---@param options table?
---@return myco.node
function M.open_node(folder, options)
  local given = { name = "here", data = folder .. "/here.myco" }
  for name, value in pairs(options or {}) do given[name] = value end
  local node = assert(myco.open(given))
  assert(node:ready(10))
  return node
end

--- A node as a process of its own, once it said that it is ready.
---@param folder string
---@param ... string more arguments
---@return table node {process, socket, admin, name}
function M.start_node(folder, ...)
  return M.start_program(M.build .. "/bin/mycorrizal", folder, ...)
end

--- The same of another program that takes the same arguments.
---@param program string
---@param folder string
---@param ... string more arguments
---@return table node
function M.start_program(program, folder, ...)
  local process = M.spawn({
    program, "run", "--name", "api-1", "--cluster", "shop", "--data", folder .. "/api-1.myco",
    "--admin", "127.0.0.1:0", ...,
  }, { log = folder .. "/api-1.log" })
  local ready = task.deadline(15, function()
    while not process.out:find("\n", 1, true) and not process.status do process:wait_event() end
    return json.decode(process.out:match("^[^\n]*"))
  end)
  if not ready then
    process:kill("sigkill")
    error("the node did not say that it is ready: " .. process.out, 2)
  end
  ready.process = process
  return ready
end

--- Ends such a node and waits for it; its exit status.
---@param node table
---@return integer status
function M.stop_node(node)
  node.process:kill("sigterm")
  return task.deadline(15, function() return node.process:wait_end() end)
end

-- ── pulse ──

--- Runs pulse to its end.
---@param node table
---@param words string[]
---@param input string?
---@return { out: string, err: string, status: integer }
function M.pulse(node, words, input)
  local argv = { M.build .. "/bin/pulse", "--connect", node.socket, table.unpack(words) }
  local process = M.spawn(argv, { input = input })
  local status = task.deadline(20, function() return process:wait_end() end)
  if not status then
    process:kill("sigkill")
    error("pulse did not end: " .. table.concat(words, " "), 2)
  end
  return { out = process.out, err = process.err, status = status }
end

-- ── mycorrizal ──

--- Runs `mycorrizal` with these words to its end.
---@param words string[]
---@return { out: string, err: string, status: integer }
function M.run(words)
  local process = M.spawn { M.build .. "/bin/mycorrizal", table.unpack(words) }
  local status = task.deadline(20, function() return process:wait_end() end)
  if not status then
    process:kill("sigkill")
    error("mycorrizal did not end: " .. table.concat(words, " "), 2)
  end
  return { out = process.out, err = process.err, status = status }
end

-- ── Handles ──

--- Waits a moment for handles to be closed, and returns those that are open beyond `before`.
---@param before string[]
---@return string[]
function M.new_handles(before)
  local now
  for _ = 1, 50 do
    now = loop.open_handles()
    if #now <= #before then return {} end
    task.sleep("10ms")
  end
  return now
end

M.open_handles = loop.open_handles

return M
