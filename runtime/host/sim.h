/* `mycorrizal sim`: a whole cluster in one process, on the simulator's clock, network and disks. */
#ifndef MYCO_HOST_SIM_H
#define MYCO_HOST_SIM_H

int myco_sim_main(int argc, char **argv);

#endif
