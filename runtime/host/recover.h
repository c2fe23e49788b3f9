/* `mycorrizal recover`: a cluster that lost its majority for good goes on around one survivor. */
#ifndef MYCO_HOST_RECOVER_H
#define MYCO_HOST_RECOVER_H

int myco_recover_main(int argc, char **argv);

#endif
