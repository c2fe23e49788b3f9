# Peers over TCP and TLS, on libuv. The only includer of OpenSSL's TLS.
myco_layer(net
  SOURCES net.c dial.c conn.c peer.c refuse.c lane.c flush.c tls.c
  NEEDS base env wire
  LIBS PkgConfig::UV OpenSSL::SSL OpenSSL::Crypto)
