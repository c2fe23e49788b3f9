/* `mycorrizal backup` and `mycorrizal restore`: what an object store holds, without a cluster. */
#ifndef MYCO_HOST_BACKUP_H
#define MYCO_HOST_BACKUP_H

int myco_backup_main(int argc, char **argv);  /* list, verify */
int myco_restore_main(int argc, char **argv); /* a point in time, into a store */

#endif
