-- Everybody is linked with everybody: n nodes keep n - 1 connections each. The default, for which nothing is asked.

return {
  kind = "topology",
  doc = "Full mesh: each node is linked with all others.",

  links = function() return { mesh = true } end,

  examples = {
    {
      given = { members = { { id = "a", name = "n1", labels = {} }, { id = "b", name = "n2", labels = {} } } },
      expect = { mesh = true },
    },
  },
}
