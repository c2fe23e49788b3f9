/* What a node says of itself in gossip: nothing is read past its end, and what was read is written
 * and read as the same. */
#include <assert.h>
#include <string.h>

#include "base/buf.h"
#include "consensus/bootstrap.h"
#include "fuzz.h"

static bool same(struct myco_slice a, struct myco_slice b)
{
    return a.size == b.size && (!a.size || memcmp(a.data, b.data, a.size) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct myco_member member = {0}, again = {0};
    struct myco_node_meta meta, copy;
    struct myco_buf out = {0};
    if (size > MYCO_META_SIZE_MAX) size = MYCO_META_SIZE_MAX;
    member.meta = data;
    member.meta_size = (uint16_t)size;
    if (!myco_node_meta_read(&member, &meta)) return 0;
    const uint8_t *end = member.meta + size;
    assert(!meta.admin.size || (const uint8_t *)meta.admin.data + meta.admin.size <= end);
    assert(!meta.version.size || (const uint8_t *)meta.version.data + meta.version.size <= end);
    myco_node_meta_write(&meta, &out);
    assert(out.size <= MYCO_META_SIZE_MAX);
    again.meta = out.data;
    again.meta_size = (uint16_t)out.size;
    bool ok = myco_node_meta_read(&again, &copy);
    assert(ok && copy.term == meta.term && copy.fresh == meta.fresh && copy.leads == meta.leads);
    assert(same(copy.admin, meta.admin) && same(copy.version, meta.version));
    myco_buf_free(&out);
    return 0;
}
