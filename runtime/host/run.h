/* The subcommands `run` and `check` of the program. argv[0] is the first argument after the
 * word. */
#ifndef MYCO_HOST_RUN_H
#define MYCO_HOST_RUN_H

enum { MYCO_EXIT_OK = 0, MYCO_EXIT_FAILED = 1, MYCO_EXIT_USAGE = 2, MYCO_EXIT_INTERRUPTED = 130 };

/* Runs a node until SIGTERM or SIGINT. */
int myco_run_main(int argc, char **argv);
/* Reads a configuration, and says what is wrong with it. */
int myco_check_main(int argc, char **argv);

#endif
