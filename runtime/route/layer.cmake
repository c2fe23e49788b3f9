# Paths between nodes that are not linked: an overlay over env/transport.h, in which hubs pass messages on.
myco_layer(route SOURCES route.c links.c session.c flow.c relay.c forward.c
           NEEDS base env wire)
