local helper = require "spec.support.helper"
local task = require "mycorrizal.task"

describe("pulse -e", function()
  local folder, node

  setup(function()
    folder = helper.new_folder()
    node = helper.start_node(folder)
  end)

  teardown(function()
    helper.stop_node(node)
    helper.remove(folder)
  end)

  it("writes results and what was printed", function()
    assert.same(
      { out = "hi\n2\t\"x\"\n", err = "", status = 0 },
      helper.pulse(node, { "-e", "print('hi') return 1 + 1, 'x'" }))
  end)

  it("fails with the message on stderr", function()
    assert.same({ out = "", err = "pulse:1: no\n", status = 2 }, helper.pulse(node, { "-e", "error('no')" }))
  end)

  it("evaluates the lines of a pipe, whole chunks at a time", function()
    local ran = helper.pulse(node, {}, "for i = 1, 2 do\n  print(i)\nend\nx = 5\nx + 1\n")
    assert.same({ out = "1\n2\n6\n", err = "", status = 0 }, ran)
    assert.equal(2, helper.pulse(node, {}, "nonsense(\n").status)
  end)
end)

describe("the conversation", function()
  local folder, node
  local server = 0 -- one for each conversation: a tmux server that ends is not asked again

  local function tmux(...)
    local name = ("myco-spec-%d-%d"):format(node.pid, server)
    local process = helper.spawn({ "tmux", "-L", name, "-f", "/dev/null", ... })
    task.deadline(10, process.wait_end, process)
    return process.out
  end

  local function screen()
    return tmux("capture-pane", "-p", "-S", "-200")
  end

  local function await_screen(text)
    local seen
    local ok = pcall(helper.wait_until, text, 10, function()
      seen = screen()
      return seen:find(text, 1, true)
    end)
    if not ok then error(("'%s' did not come on:\n%s"):format(text, seen), 2) end
  end

  local function type_line(text)
    tmux("send-keys", "-l", text)
    tmux("send-keys", "Enter")
  end

  setup(function()
    folder = helper.new_folder()
    node = helper.start_node(folder)
    helper.pulse(node, { "septum", "create", "carts", "--hyphae", "2" })
  end)

  teardown(function()
    helper.stop_node(node)
    helper.remove(folder)
  end)

  local function begin()
    server = server + 1
    tmux("new-session", "-d", "-x", "120", "-y", "40", (
      "PULSE_HISTORY=%s/history %s/bin/pulse --connect %s; echo left with $?; sleep 60"):format(
        folder, helper.build, node.socket))
    await_screen("api-1>")
  end

  before_each(begin)
  after_each(function() tmux("kill-server") end)

  it("begins by saying who answers, and ends with Ctrl-D", function()
    await_screen("pulse v0.1 · shop/api-1 · 1 node · leader of nodosum: api-1")
    tmux("send-keys", "C-d")
    await_screen("left with 0")
  end)

  it("evaluates what is typed", function()
    type_line("mycel.carts:put('u:7', {items = 3})")
    type_line("mycel.carts:get('u:7').items + 1")
    await_screen("\n4\n")
    type_line("error('boom')")
    await_screen("pulse:1: boom")
  end)

  it("goes on in the next line while a chunk is not whole", function()
    type_line("for i = 1, 3 do")
    await_screen("    ..")
    type_line("print('n' .. i)")
    type_line("end")
    await_screen("n1\nn2\nn3\n")
  end)

  it("completes names of the node", function()
    tmux("send-keys", "-l", "mycel.car")
    tmux("send-keys", "Tab")
    await_screen("mycel.carts")
    tmux("send-keys", "-l", ":cou")
    tmux("send-keys", "Tab")
    await_screen("mycel.carts:count")
    tmux("send-keys", "-l", "()")
    tmux("send-keys", "Enter")
    await_screen("mycel.carts:count()\n")
  end)

  it("shows the names when there are several", function()
    tmux("send-keys", "-l", "cytoplasm:")
    tmux("send-keys", "Tab")
    await_screen("flush  publish  request  subscribe")
  end)

  it("ends what runs at Ctrl-C, and goes on", function()
    type_line("while true do end")
    task.sleep("300ms")
    tmux("send-keys", "C-c")
    await_screen("cancelled")
    type_line("'still ' .. 'here'")
    await_screen("still here")
  end)

  it("gives up a line at Ctrl-C", function()
    type_line("for i = 1, 3 do")
    await_screen("    ..")
    tmux("send-keys", "C-c")
    await_screen("^C")
    type_line("6 * 7")
    await_screen("\n42\n")
  end)

  it("remembers lines from one conversation to the next", function()
    type_line("'remem' .. 'bered'")
    await_screen('"remembered"')
    tmux("send-keys", "C-d")
    await_screen("left with 0")
    tmux("kill-server")
    begin()
    tmux("send-keys", "Up")
    await_screen("api-1> 'remem' .. 'bered'")
  end)
end)
