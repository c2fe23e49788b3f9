-- pulse hypha accept-loss: what is known of hyphae whose last in-sync members are gone, and going on without them.

local COLUMNS <const> = { "hypha", "in_sync", "copies", "goes_on", "persisted", "accepted" }

local function words(list, form)
  local out = {}
  for i, item in ipairs(list) do out[i] = form(item) end
  return #out > 0 and table.concat(out, " ") or "-"
end

local function row(hypha)
  return {
    hypha = hypha.hypha, persisted = hypha.persisted, accepted = hypha.accepted,
    goes_on = hypha.goes_on == "" and "-" or hypha.empty and hypha.goes_on .. ", empty" or hypha.goes_on,
    in_sync = words(hypha.in_sync, function(member) return member.node .. ":" .. member.state end),
    copies = words(hypha.copies, function(copy)
      return ("%s:%d/%d (%d keys)"):format(copy.node, copy.epoch & 0xffffffffffff, copy.offset, copy.keys)
    end),
  }
end

local function numbers(words_given)
  local list = {}
  for i, word in ipairs(words_given) do
    list[i] = math.tointeger(tonumber(word))
    if not list[i] or list[i] < 0 then return nil, ("'%s' is no number of a hypha"):format(word), "EINVAL" end
  end
  return list
end

local function report(hyphae, head)
  local rows = {}
  for i, hypha in ipairs(hyphae) do rows[i] = row(hypha) end
  return { value = hyphae, rows = rows, columns = COLUMNS, head = head }
end

local function accept_loss(context, args, flags)
  local options = { septum = args.septum, away = flags.yes, reason = flags.reason, look = true }
  if (args.hypha == nil) == not flags["all-lost"] then
    return nil, "hypha accept-loss: name the hyphae, or say --all-lost", "EINVAL"
  end
  local message, code
  if args.hypha then
    options.hyphae, message, code = numbers(args.hypha)
    if not options.hyphae then return nil, message, code end
  end
  local seen
  seen, message, code = context.node.mycel:accept_loss(options)
  if not seen then return nil, message, code end
  if #seen == 0 then return report(seen, "no hypha of " .. args.septum .. " is lost") end
  if flags["dry-run"] then return report(seen, "nothing was changed; what is in no copy below would be lost") end
  options.look = false
  local done
  done, message, code = context.node.mycel:accept_loss(options)
  if not done then return nil, message, code end
  return report(done, "what was in none of the copies is lost")
end

---@type myco.command[]
return {
  {
    name = "hypha accept-loss",
    summary = "Goes on without data whose last copies are lost for ever.",
    doc = "Of hyphae whose in-sync members never come back, the copy that goes furthest (EPOCH/OFFSET) becomes the "
      .. "primary; without one the hypha begins empty. Look with --dry-run first. Refused while an in-sync member "
      .. "lives; where they are away, but were neither removed nor replaced, --yes says that they will not come back.",
    args = { { "septum" }, { "hypha", optional = true, rest = true } }, run = accept_loss,
    flags = {
      json = { false, "as JSON" },
      ["all-lost"] = { false, "all hyphae of the septum whose last in-sync members are gone, at most 512 at a time" },
      ["dry-run"] = { false, "only tells what is known, and what would go on" },
      yes = { false, "also where they are merely away: what they have is lost" },
      reason = { "TEXT", "goes into the log and the events" },
    },
  },
}
