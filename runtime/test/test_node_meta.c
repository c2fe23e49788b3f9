/* Catches: a node of this version that an older one does not understand, or the other way round; an
 * address that is read past its end. */
#include "base/buf.h"
#include "consensus/bootstrap.h"
#include "tap.h"

#define OLD_SIZE 21 /* flags, expect, term, cluster: all that version 0.1.0 began with */

static struct myco_node_meta written = {.leads = true, .expect = 3, .term = 7, .cluster = 99};

static struct myco_member member_of(const struct myco_buf *bytes)
{
    return (struct myco_member){.meta = bytes->data, .meta_size = (uint16_t)bytes->size};
}

static bool says(struct myco_slice slice, const char *text)
{
    return slice.size == strlen(text) && (!slice.size || memcmp(slice.data, text, slice.size) == 0);
}

int main(void)
{
    struct myco_node_meta read;
    struct myco_buf out = {0};
    written.admin = myco_str("127.0.0.1:7947");
    written.version = myco_str("0.1.0");
    myco_node_meta_write(&written, &out);
    struct myco_member member = member_of(&out);
    ok(myco_node_meta_read(&member, &read), "what was written is read");
    ok(read.leads && !read.fresh && read.expect == 3 && read.term == 7 && read.cluster == 99,
        "the four fields");
    ok(says(read.admin, "127.0.0.1:7947") && says(read.version, "0.1.0"), "address and version");

    member.meta_size = OLD_SIZE;
    ok(myco_node_meta_read(&member, &read) && read.term == 7, "an older node says less");
    ok(!read.admin.size && !read.version.size, "and its address is not known");
    member.meta_size = OLD_SIZE - 1;
    ok(!myco_node_meta_read(&member, &read), "less than the four is refused");

    for (size_t size = OLD_SIZE + 1; size < out.size; size++) {
        member.meta_size = (uint16_t)size;
        if (!myco_node_meta_read(&member, &read) || read.admin.size > 14)
            bail_out("cut at %zu", size);
    }
    ok(true, "a tail that is cut leaves out what is cut");

    struct myco_buf newer = {0};
    myco_buf_bytes(&newer, out.data, OLD_SIZE);
    myco_buf_bytes(&newer, "\xc8\x03new", 5);
    myco_buf_bytes(&newer, out.data + OLD_SIZE, out.size - OLD_SIZE);
    member = member_of(&newer);
    ok(myco_node_meta_read(&member, &read) && says(read.admin, "127.0.0.1:7947"),
        "what a newer node says besides is passed over");

    char longest[MYCO_ADMIN_MAX + 2];
    memset(longest, '/', sizeof longest - 1);
    longest[sizeof longest - 1] = 0;
    myco_buf_clear(&out);
    written.admin = myco_str(longest);
    myco_node_meta_write(&written, &out);
    ok(out.size <= MYCO_META_SIZE_MAX, "an address that is too long is left out");
    written.admin.size = written.version.size = MYCO_ADMIN_MAX;
    written.version.data = longest;
    myco_buf_clear(&out);
    myco_node_meta_write(&written, &out);
    ok(out.size <= MYCO_META_SIZE_MAX, "the longest fit");
    myco_buf_free(&newer);
    myco_buf_free(&out);
    return plan_done();
}
