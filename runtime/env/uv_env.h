/* The outside world by libuv: env/env.h on a loop. Everything on the loop's thread. */
#ifndef MYCO_ENV_UV_ENV_H
#define MYCO_ENV_UV_ENV_H

#include "base/err.h"
#include "env/env.h"

struct uv_loop_s;
struct myco_uv_env;

/* Opens a datagram socket at `bind` (port 0: any free one; NULL: no datagrams), and a timer.
 * *uv_env is given; `log` and `metrics` are lent until it is closed, `bound` (may be NULL) is
 * filled. EADDRINUSE, EDENIED, EUNAVAILABLE (not an address of this machine), EIO: then the loop
 * has handles that are closing, as after close. */
int myco_uv_env_open(struct myco_uv_env **uv_env, struct uv_loop_s *loop,
    const struct myco_addr *bind, struct myco_addr *bound, struct myco_log *log,
    struct myco_metrics *metrics, struct myco_err *err);

struct myco_env *myco_uv_env(struct myco_uv_env *uv_env); /* lent until it is closed */

/* From now on nothing fires and nothing arrives. `closed` (may be NULL) runs on the loop, later,
 * when the handles are closed and the memory is freed. */
void myco_uv_env_close(struct myco_uv_env *uv_env, void (*closed)(void *data), void *data);

#endif
