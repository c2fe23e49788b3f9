/* Who a node is: its id, the generation of this start, and the name of its cluster. */
#include <string.h>

#include "base/err.h"
#include "base/hash.h"
#include "host/core_internal.h"

#define IDENTITY 0x314f43594d444e49ull /* "INDMYCO1" */

/* ── identity ── file `node`: u64 magic, id, generation, cluster; u32 crc */

int myco_identity_read(struct myco_disk *disk, struct myco_identity *identity, struct myco_err *err)
{
    struct myco_file *file;
    uint8_t bytes[36];
    size_t got = 0;
    int rc = disk->ops->open(disk, "node", 0, &file, err);
    if (rc == MYCO_ENOTFOUND) return 0;
    if (rc) return rc;
    rc = disk->ops->read(file, 0, bytes, sizeof bytes, &got);
    disk->ops->close(file);
    struct myco_reader in = myco_reader(bytes, got);
    uint64_t magic = myco_read_u64(&in);
    identity->id = myco_read_u64(&in);
    identity->generation = myco_read_u64(&in);
    identity->cluster = myco_read_u64(&in);
    uint32_t crc = myco_read_u32(&in);
    if (rc || magic != IDENTITY || in.bad || crc != myco_crc32c(0, bytes, 32))
        return myco_err(err, rc ? rc : MYCO_ECORRUPT,
            "the file node in the data folder is damaged: move the folder away, and the node joins "
            "as a new one");
    return 0;
}

int myco_identity_load(struct myco_disk *disk, struct myco_env *env, const char *cluster,
    struct myco_identity *identity, struct myco_err *err)
{
    memset(identity, 0, sizeof *identity);
    uint64_t hash = myco_hash(cluster, strlen(cluster));
    int rc = myco_identity_read(disk, identity, err);
    if (rc) return rc;
    if (identity->id && identity->cluster != hash)
        return myco_err(err, MYCO_EWRONGCLUSTER,
            "the data folder belongs to another cluster than '%s'", cluster);
    while (!identity->id) identity->id = myco_random_u64(env);
    identity->generation++;
    identity->cluster = hash;
    struct myco_buf out = {0};
    myco_buf_u64(&out, IDENTITY);
    myco_buf_u64(&out, identity->id);
    myco_buf_u64(&out, identity->generation);
    myco_buf_u64(&out, identity->cluster);
    myco_buf_u32(&out, myco_crc32c(0, out.data, out.size));
    rc = disk->ops->put_now(disk, "node", myco_buf_as_slice(&out));
    myco_buf_free(&out);
    return rc ? myco_err(err, rc, "write the file node in the data folder: %s", myco_strerror(rc))
              : 0;
}
