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

void myco_pack_labels(msgpack_packer *pack, const char *labels)
{
    size_t count = 0;
    for (const char *at = labels; *at; at += strcspn(at, ","), at += *at == ',')
        count += *at != ',';
    msgpack_pack_map(pack, count);
    for (const char *at = labels; *at; at += *at == ',') {
        size_t size = strcspn(at, ",");
        if (!size) continue;
        const char *equals = memchr(at, '=', size);
        size_t name = equals ? (size_t)(equals - at) : size;
        myco_pack_slice(pack, myco_bytes(at, name));
        myco_pack_slice(pack, equals ? myco_bytes(equals + 1, size - name - 1) : myco_str("true"));
        at += size;
    }
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
