-- When a septum goes to the object store: what is new every few seconds, and a snapshot now and then.

return {
  kind = "persistence",
  doc = "Uploads what is new every five seconds; a snapshot after 16 segments; what it replaces stays for ten minutes.",
  options = {
    every_ms = { type = "integer", default = 5000, doc = "time between uploads" },
    snapshot_segments = { type = "integer", default = 16, doc = "segments after which one snapshot replaces them" },
    retain_ms = { type = "integer", default = 600000, doc = "how long replaced objects stay" },
  },

  plan = function(_, options)
    return {
      every_ms = options.every_ms,
      snapshot_segments = options.snapshot_segments,
      retain_ms = options.retain_ms,
    }
  end,

  examples = {
    {
      given = { septum = "carts", kind = "durable", level = "disk", hyphae = 64 },
      expect = { every_ms = 5000, snapshot_segments = 16, retain_ms = 600000 },
    },
  },
}
