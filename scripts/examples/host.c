/* A C program that is a node: it starts one inside itself, stores, publishes, stands for a duty,
 * then leaves.
 *
 *     cc host.c $(pkg-config --cflags --libs mycorrizal) -o host && ./host
 *
 * Several of them form a cluster. In one shell, and in another:
 *
 *     ./host api-1 17001 127.0.0.1:17001,127.0.0.1:17002
 *     ./host api-2 17002 127.0.0.1:17001,127.0.0.1:17002
 */
#include <mycorrizal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static void on_order(const struct myco_msg *msg, void *data) /* on the node's thread; msg is lent */
{
    printf("event    %.*s: %.*s\n", (int)msg->subject.size, (const char *)msg->subject.data,
        (int)msg->data.size, (const char *)msg->data.data);
    __atomic_fetch_add((int *)data, 1, __ATOMIC_RELEASE);
}

static void on_duty(const struct myco_duty *duty, void *data)
{
    printf("duty     %s: %s, epoch %llx, leader %s\n", duty->name, duty->held ? "held" : "not held",
        (unsigned long long)duty->epoch, duty->leader);
    if (duty->held) __atomic_fetch_add((int *)data, 1, __ATOMIC_RELEASE);
}

static void await(int *count) /* at most five seconds */
{
    for (int i = 0; i < 500 && !__atomic_load_n(count, __ATOMIC_ACQUIRE); i++) usleep(10000);
}

int main(int argc, char **argv)
{
    struct myco_err err;
    struct myco_options options = MYCO_OPTIONS_INIT;
    char listen[64], template[] = "/tmp/mycorrizal-host-XXXXXX";
    snprintf(listen, sizeof listen, "127.0.0.1:%s", argc > 2 ? argv[2] : "0");
    options.name = argc > 1 ? argv[1] : "host";
    options.listen = listen;
    options.join = argc > 3 ? argv[3] : NULL;
    options.expect = argc > 3 ? 2 : 1;
    options.data = mkdtemp(template);

    struct myco *node;
    struct myco_septum *carts;
    struct myco_value value;
    struct myco_sub *orders;
    struct myco_election *nightly;
    uint64_t version;
    int events = 0, duties = 0;

    if (myco_open(&node, &options, &err)) return myco_complain(&err);
    if (myco_wait_ready(node, 30000, &err)) return myco_complain(&err);
    if (myco_septum(node, "carts", "kind=durable replicas=1", &carts, &err))
        return myco_complain(&err);
    if (myco_put(carts, myco_str("u:7"), myco_str("three apples"), NULL, &version, &err))
        return myco_complain(&err);
    if (myco_get(carts, myco_str("u:7"), &value, &err)) return myco_complain(&err);
    printf("value    %.*s, version %llu\n", (int)value.size, (const char *)value.data,
        (unsigned long long)value.version);
    myco_value_release(&value);

    if (myco_subscribe(node, "orders.*.created", NULL, on_order, &events, &orders, &err))
        return myco_complain(&err);
    if (myco_publish(node, "orders.7.created", myco_str("{\"id\":7}"), NULL, &err))
        return myco_complain(&err);
    if (myco_campaign(node, "nightly-report", on_duty, &duties, &nightly, &err))
        return myco_complain(&err);
    await(&events);
    await(&duties);

    myco_resign(nightly, NULL, NULL);
    myco_unsubscribe(orders, NULL, NULL);
    myco_close(node); /* hands over, flushes, joins the thread */
    return 0;
}
