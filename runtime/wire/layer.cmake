# What travels between peers, as bytes: frames and the types of messages. No I/O.
myco_layer(wire SOURCES frame.c hello.c feature.c feature_own.c NEEDS base)
