# What everything else stands on: no I/O, no clock (but for the sinks of the log), no Lua, no libuv.
myco_layer(base
  SOURCES err.c assert.c mem.c buf.c reader.c map.c hash.c addr.c text.c log.c log_sink.c fault.c metric.c
  json.c option.c option_args.c option_name.c seal.c cron.c zone.c
  LIBS PkgConfig::XXHASH OpenSSL::Crypto Threads::Threads)
