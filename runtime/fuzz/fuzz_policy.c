/* Sources of policies, and documents for them: any source is accepted or refused with a sentence,
 * within its budget; any world is answered or refused. The first half of the input is the body of a
 * policy's function, the second a world. */
#include "base/assert.h"
#include "base/buf.h"
#include "bridge/policy_source.h"
#include "consensus/policy.h"
#include "fuzz.h"

#define HEAD "return {kind = 'persistence', doc = 'd', plan = function(world, options) "
#define TAIL " end, examples = {{given = {hyphae = 4}, expect = function() end}}}"

static void check(struct myco_slice source)
{
    struct myco_err err = {0};
    int status = myco__policy_check(MYCO_POLICY_PERSISTENCE, "fuzzed", source, &err);
    MYCO_ASSERT(status == 0 || (status == MYCO_EPOLICY && err.message[0]));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct myco_buf source = {0}, answer = {0};
    struct myco_err err = {0};
    size_t half = size / 2;
    check(myco_bytes(data, size));
    myco_buf_printf(&source, HEAD);
    myco_buf_bytes(&source, data, half);
    myco_buf_printf(&source, TAIL);
    check(myco_buf_as_slice(&source));

    static const char steady[] =
        "return {plan = function(world) return {every_ms = 1000, snapshot_segments = 1, "
        "retain_ms = 0, world} end}";
    struct myco_slice world = myco_bytes(data + half, size - half);
    int status =
        myco__policy_ask(MYCO_POLICY_PERSISTENCE, "steady", myco_str(steady), world, &answer, &err);
    MYCO_ASSERT(status == 0 ? answer.size > 0 : status == MYCO_EPOLICY && answer.size == 0);
    myco_buf_free(&source);
    myco_buf_free(&answer);
    return 0;
}
