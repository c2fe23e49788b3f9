-- Commands that hold something through the node, with a program to run under it: campaign, lock.

local process <const> = require "mycorrizal.io.process"
local task <const> = require "mycorrizal.task"
local text <const> = require "mycorrizal.text"
local tty <const> = require "mycorrizal.io.tty"

local KILL_AFTER <const> = "5s" -- a program that goes on after the duty was lost, or after Ctrl-C
local SIGNALS <const> = { sigint = 130, sigterm = 143, sighup = 129 }

-- ── Waiting for one of several things ──

local function wake(stage)
  local callback = stage.callback
  stage.callback = nil
  if callback then callback() end
end

local function wait(stage)
  task.await(function(callback)
    stage.callback = callback
    return true
  end)
end

local function after(stage, duration, fn)
  stage.timers[#stage.timers + 1] = task.spawn(function()
    task.sleep(duration)
    fn()
    wake(stage)
  end)
end

-- ── The candidacy: a request that lasts; it is withdrawn when pulse goes away ──

local function ask(context, stage, request)
  local _, message, code = context.client:request(request, function(part)
    if part.duty then
      stage.duty = part.duty
      wake(stage)
    end
  end)
  stage.failure = { message or "the node ended it", code or "ECANCELED" }
  wake(stage)
end

local function tell(stage, what, line)
  local duty = stage.duty
  local item = { event = what, name = duty.name, epoch = duty.epoch, leader = duty.leader }
  if stage.quiet then return stage.context.note(line) end
  stage.context.show(item, line)
end

-- Says what changed since it was said last.
local function say(stage)
  local duty = stage.duty
  if not duty then return end
  if duty.held and not stage.held then
    tell(stage, "gained", ("gained %s, epoch %d"):format(duty.name, duty.epoch))
  elseif stage.held and not duty.held then
    tell(stage, "lost", ("lost %s"):format(duty.name))
  elseif not duty.held and duty.leader ~= "" and duty.leader ~= stage.leader then
    tell(stage, "waiting", ("waiting: %s leads %s, epoch %d"):format(duty.leader, duty.name, duty.epoch))
  end
  stage.held, stage.leader = duty.held, duty.leader
end

local function over(stage)
  return stage.signal or stage.failure
end

-- ── While it is held ──

local function end_program(stage, program, signal)
  program:kill(signal)
  local ended = task.deadline(KILL_AFTER, function()
    while not program.status do wait(stage) end
    return true
  end)
  if ended then return end
  program:kill("sigkill")
  while not program.status do wait(stage) end
end

-- Runs the command; its exit status, or nil when what it runs under was lost first.
local function run_program(stage, argv)
  local program, message, code = process.run(argv, {
    MYCO_ELECTION = stage.duty.name, MYCO_EPOCH = tostring(stage.duty.epoch), MYCO_NODE = stage.duty.leader,
  }, function() wake(stage) end)
  if not program then return nil, message, code end
  while not program.status and stage.duty.held and not over(stage) do wait(stage) end
  if program.status then return program.status end
  say(stage)
  end_program(stage, program, stage.signal or "sigterm")
  if stage.signal then return SIGNALS[stage.signal] end
  local why = stage.failure and stage.failure[1] or stage.duty.name .. " was lost"
  return nil, why .. ", and the command was ended", stage.failure and stage.failure[2] or "EFENCED"
end

local function hold(stage, flags)
  if stage.argv then return run_program(stage, stage.argv) end
  local done = false
  if flags["for"] then
    after(stage, flags["for"], function() done = true end)
  end
  while stage.duty.held and not done and not over(stage) do wait(stage) end
  return done and 0 or false
end

-- ── campaign ──

local function watch_signals(stage)
  return tty.watch_signals(SIGNALS, function(name)
    stage.signal = name
    wake(stage)
  end)
end

local function stand(stage, flags)
  if flags.timeout then after(stage, flags.timeout, function() stage.late = true end) end
  while true do
    say(stage)
    if stage.signal then return SIGNALS[stage.signal] end
    if stage.failure then return nil, table.unpack(stage.failure) end
    if stage.duty and stage.duty.held then
      local status, message, code = hold(stage, flags)
      if status or message then return status, message, code end
    elseif stage.late and not stage.ever then
      return "late"
    else
      wait(stage)
    end
    stage.ever = stage.ever or stage.held
  end
end

-- Asks for it, and holds it or runs argv under it, to the end.
local function run(context, request, argv, flags)
  local stage = { context = context, argv = argv, quiet = argv ~= nil, timers = {} }
  local stop = watch_signals(stage)
  task.spawn(ask, context, stage, request)
  local status, message, code = stand(stage, flags)
  stop()
  for _, timer in ipairs(stage.timers) do timer:cancel() end
  -- Withdrawn before pulse ends, so that whoever starts it again is not still a candidate from before.
  if not stage.failure then
    context.client:cancel()
    while not stage.failure do wait(stage) end
  end
  if status == "late" then
    return { items = true, missing = ("%s was not gained within %g s"):format(
      request.name, text.duration_ms(flags.timeout) / 1000) }
  end
  if not status then return nil, message, code end
  return { items = true, status = status }
end

local function campaign(context, args, flags)
  local argv = flags.exec and { "/bin/sh", "-c", flags.exec }
  return run(context, { op = "campaign", name = args.name, priority = flags.priority }, argv, flags)
end

local function lock(context, args, flags)
  return run(context, { op = "lock", name = args.name, permits = flags.permits }, args.command, flags)
end

---@type myco.command[]
return {
  {
    name = "campaign", summary = "Stands for an election, through the node: says when it is gained and lost.",
    doc = [[
It is given up when pulse ends. With --exec nothing is written to stdout: the command runs once the election is
gained, with MYCO_ELECTION, MYCO_EPOCH (the fencing token) and MYCO_NODE in its environment; when the election
is lost the command is ended, and pulse fails. Its exit status is that of pulse.]],
    args = { { "name" } }, missing = "not gained within --timeout",
    flags = {
      json = { false, "as JSON, a line each" },
      priority = { "N", "higher is preferred among the candidates; default 0", integer = true },
      ["for"] = { "TIME", "gives it up after it was held for so long", duration = true },
      timeout = { "TIME", "gives up when it was not gained by then", duration = true },
      exec = { "CMD", "runs the command with sh, while it is held" },
    },
    client = campaign,
  },
  {
    name = "lock", summary = "Takes a lock, through the node, and holds it while a command runs, or until Ctrl-C.",
    doc = [[
The command runs with MYCO_ELECTION (the lock's name), MYCO_EPOCH (its fencing token) and MYCO_NODE in its
environment, and its exit status is that of pulse. When the lock is lost the command is ended, and pulse fails.]],
    args = { { "name" }, { "command", optional = true, rest = true } }, missing = "not got within --timeout",
    flags = {
      json = { false, "as JSON, a line each" },
      permits = { "N", "a semaphore of so many; default 1", integer = true },
      ["for"] = { "TIME", "gives it back after so long", duration = true },
      timeout = { "TIME", "gives up when it was not got by then", duration = true },
    },
    client = lock,
  },
}
