/* Someone else's program, which knows nothing but what was installed. Without an argument it shows
 * that it links; with one it runs a node there. */
#include <mycorrizal.h>
#include <stdio.h>

int main(int argc, char **argv)
{
    struct myco_err err;
    struct myco_options options = MYCO_OPTIONS_INIT;
    struct myco *node;
    printf("%s\n", myco_version());
    if (argc < 2) return 0;
    options.name = "consumer";
    options.data = argv[1];
    options.no_lua = 1;
    if (myco_open(&node, &options, &err)) return myco_complain(&err);
    int status = myco_wait_ready(node, 10000, &err) ? myco_complain(&err) : 0;
    myco_close(node);
    return status;
}
