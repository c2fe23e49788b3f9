-- As steady, but the store is never more than about a second behind: more requests, smaller segments.

return {
  kind = "persistence",
  doc = "Uploads what is new every second; a snapshot after 64 segments; what it replaces stays for ten minutes.",

  plan = function()
    return { every_ms = 1000, snapshot_segments = 64, retain_ms = 600000 }
  end,

  examples = {
    {
      given = { septum = "carts", kind = "durable", level = "disk", hyphae = 64 },
      expect = function(plan) return plan.every_ms == 1000 end,
    },
  },
}
