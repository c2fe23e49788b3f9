/* Documents for policies, over libmsgpack. */
#include "consensus/policy_docs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int write_to_buf(void *data, const char *bytes, size_t size)
{
    struct myco_buf *out = data;
    myco_buf_bytes(out, bytes, size);
    return out->failed ? -1 : 0;
}

void myco_pack_init(msgpack_packer *pack, struct myco_buf *out)
{
    msgpack_packer_init(pack, out, write_to_buf);
}

void myco_pack_slice(msgpack_packer *pack, struct myco_slice text)
{
    msgpack_pack_str(pack, text.size);
    msgpack_pack_str_body(pack, text.data, text.size);
}

void myco_pack_str(msgpack_packer *pack, const char *text)
{
    myco_pack_slice(pack, myco_str(text));
}

void myco_pack_key_str(msgpack_packer *pack, const char *key, const char *value)
{
    myco_pack_str(pack, key);
    myco_pack_str(pack, value);
}

void myco_pack_key_u64(msgpack_packer *pack, const char *key, uint64_t value)
{
    myco_pack_str(pack, key);
    msgpack_pack_uint64(pack, value);
}

void myco_pack_key_bool(msgpack_packer *pack, const char *key, bool value)
{
    myco_pack_str(pack, key);
    if (value)
        msgpack_pack_true(pack);
    else
        msgpack_pack_false(pack);
}

void myco_pack_id(msgpack_packer *pack, uint64_t id)
{
    char text[17];
    if (!id) {
        msgpack_pack_nil(pack);
        return;
    }
    snprintf(text, sizeof text, "%016llx", (unsigned long long)id);
    myco_pack_str(pack, text);
}

/* "a=1,b": the next label from *at on; false: there is none. Without a value it is "true". */
static bool next_label(const char **at, struct myco_slice *name, struct myco_slice *value)
{
    *at += strspn(*at, ",");
    size_t size = strcspn(*at, ",");
    const char *equals = memchr(*at, '=', size);
    size_t name_size = equals ? (size_t)(equals - *at) : size;
    *name = myco_bytes(*at, name_size);
    *value = equals ? myco_bytes(equals + 1, size - name_size - 1) : myco_str("true");
    *at += size;
    return size > 0;
}

static bool has_label(const char *labels, struct myco_slice wanted)
{
    struct myco_slice name, value;
    while (next_label(&labels, &name, &value))
        if (name.size == wanted.size && memcmp(name.data, wanted.data, name.size) == 0) return true;
    return false;
}

void myco_pack_labels_over(msgpack_packer *pack, const char *labels, const char *over)
{
    struct myco_slice name, value;
    size_t count = 0;
    for (const char *at = over; next_label(&at, &name, &value);) count++;
    for (const char *at = labels; next_label(&at, &name, &value);) count += !has_label(over, name);
    msgpack_pack_map(pack, count);
    for (const char *at = over; next_label(&at, &name, &value);) {
        myco_pack_slice(pack, name);
        myco_pack_slice(pack, value);
    }
    for (const char *at = labels; next_label(&at, &name, &value);) {
        if (has_label(over, name)) continue;
        myco_pack_slice(pack, name);
        myco_pack_slice(pack, value);
    }
}

void myco_pack_labels(msgpack_packer *pack, const char *labels)
{
    myco_pack_labels_over(pack, labels, "");
}

const msgpack_object *myco_doc_get(const msgpack_object *map, const char *key)
{
    if (!map || map->type != MSGPACK_OBJECT_MAP) return NULL;
    for (uint32_t i = 0; i < map->via.map.size; i++)
        if (myco_doc_is(&map->via.map.ptr[i].key, key)) return &map->via.map.ptr[i].val;
    return NULL;
}

bool myco_doc_is(const msgpack_object *object, const char *text)
{
    return object && object->type == MSGPACK_OBJECT_STR && object->via.str.size == strlen(text) &&
           memcmp(object->via.str.ptr, text, object->via.str.size) == 0;
}

bool myco_doc_id(const msgpack_object *object, uint64_t *id)
{
    char text[17] = "", *end;
    if (!object || object->type != MSGPACK_OBJECT_STR || object->via.str.size != 16) return false;
    memcpy(text, object->via.str.ptr, 16);
    *id = strtoull(text, &end, 16);
    return end == text + 16 && *id;
}

bool myco_doc_u64(const msgpack_object *object, uint64_t *value)
{
    if (!object) return false;
    if (object->type == MSGPACK_OBJECT_POSITIVE_INTEGER) {
        *value = object->via.u64;
        return true;
    }
    bool is_float =
        object->type == MSGPACK_OBJECT_FLOAT64 || object->type == MSGPACK_OBJECT_FLOAT32;
    if (!is_float || object->via.f64 < 0 || object->via.f64 >= 9e15) return false;
    *value = (uint64_t)object->via.f64;
    return (double)*value == object->via.f64;
}
