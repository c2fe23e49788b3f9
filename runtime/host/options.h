/* The options of a node as a table: for the command line, a configuration file, --help and the
 * manual. */
#ifndef MYCO_HOST_OPTIONS_H
#define MYCO_HOST_OPTIONS_H

#include "base/option.h"
#include "mycorrizal.h"

enum myco_log_format { MYCO_LOG_FORMAT_TEXT, MYCO_LOG_FORMAT_JSON };

struct myco_run_options {
    struct myco_options node; /* its texts are given: myco_options_release() */
    char *config;             /* file; only from the command line, as modules */
    char *modules;            /* names with commas between, NULL: none */
    int log_format;
};

extern const struct myco_option myco_run_options[];

void myco_run_options_init(struct myco_run_options *options);
/* For myco_bridge_config(): one option of a configuration file; `data` is a struct
 * myco_run_options. */
int myco_run_options_from_config(
    const char *name, const char *value, struct myco_err *err, void *data);

#endif
