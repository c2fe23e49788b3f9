-- When a septum goes to the object store: by a line of cron, and sooner when much is new.

return {
  kind = "persistence",
  doc = "Uploads by a line of cron (nightly by default), and sooner when many bytes or writes are new.",
  options = {
    cron = { type = "string", default = "0 3 * * *", doc = "minute hour day month weekday [zone]; UTC without a zone" },
    bytes = { type = "integer", default = 67108864, doc = "new bytes on a node after which it does not wait" },
    writes = { type = "integer", default = 1000000, doc = "new writes on a node after which it does not wait" },
    snapshot_segments = { type = "integer", default = 16, doc = "segments after which one snapshot replaces them" },
    retain_ms = { type = "integer", default = 604800000, doc = "how long replaced objects stay" },
  },

  plan = function(_, options)
    return {
      cron = options.cron,
      bytes = options.bytes,
      writes = options.writes,
      snapshot_segments = options.snapshot_segments,
      retain_ms = options.retain_ms,
    }
  end,

  examples = {
    {
      given = { septum = "carts", kind = "durable", level = "disk", hyphae = 64 },
      expect = function(plan) return plan.cron == "0 3 * * *" and plan.every_ms == nil end,
    },
  },
}
