-- An example policy: what septa hold goes to the object store every second, instead of every five.
--
--     pulse policy check scripts/examples/persistence-1s.lua     runs the examples below
--     pulse policy apply scripts/examples/persistence-1s.lua     for the whole cluster, at once
--     pulse policy rollback persistence                          takes it back
--
-- Septa whose name begins with "archive" keep the longer schedule.

return {
  kind = "persistence",
  doc = "Uploads what is new every second, of archives every minute; a snapshot after 64 segments.",

  plan = function(world)
    local archive = world.septum:sub(1, 7) == "archive"
    return { every_ms = archive and 60000 or 1000, snapshot_segments = 64, retain_ms = 600000 }
  end,

  examples = {
    {
      given = { septum = "carts", kind = "durable", level = "disk", hyphae = 64 },
      expect = function(plan) return plan.every_ms == 1000 end,
    },
    {
      given = { septum = "archive-2025", kind = "durable", level = "disk", hyphae = 64 },
      expect = { every_ms = 60000, snapshot_segments = 64, retain_ms = 600000 },
    },
  },
}
