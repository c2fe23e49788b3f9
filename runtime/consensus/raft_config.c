/* Who is in the cluster, and as what: our form of libraft's configuration.
 *
 * In the log, on disk and on the wire a RAFT_CHANGE entry holds this, and not libraft's encoding
 * (which its decoder reads without bounds):
 *
 *     u16 count │ count × (u64 id │ u8 role)
 *
 * libraft also wants an address for each server; it gets the id in hexadecimal, and nobody routes
 * by it. */
#include "consensus/log_internal.h"

#include <stdio.h>

const char *myco_role_name(enum myco_role role)
{
    switch (role) {
    case MYCO_ROLE_STANDBY: return "standby";
    case MYCO_ROLE_VOTER: return "voter";
    case MYCO_ROLE_SPARE: return "spare";
    case MYCO_ROLE_NONE: break;
    }
    return "none";
}

/* Ours and libraft's numbers are the same. */
_Static_assert((int)MYCO_ROLE_STANDBY == (int)RAFT_STANDBY, "roles");
_Static_assert((int)MYCO_ROLE_VOTER == (int)RAFT_VOTER, "roles");
_Static_assert((int)MYCO_ROLE_SPARE == (int)RAFT_SPARE, "roles");

void myco__rlog_config_write(struct myco_buf *buf, const struct myco__rlog_config *config)
{
    myco_buf_u16(buf, (uint16_t)config->count);
    for (size_t i = 0; i < config->count; i++) {
        myco_buf_u64(buf, config->servers[i].id);
        myco_buf_u8(buf, (uint8_t)config->servers[i].role);
    }
}

bool myco__rlog_config_valid(const struct myco__rlog_config *config)
{
    if (config->count == 0 || config->count > MYCO__RLOG_SERVERS_MAX) return false;
    for (size_t i = 0; i < config->count; i++) {
        const struct myco_log_server *server = &config->servers[i];
        if (server->id == 0 || (unsigned)server->role > MYCO_ROLE_SPARE) return false;
        for (size_t j = 0; j < i; j++)
            if (config->servers[j].id == server->id) return false;
    }
    return myco__rlog_config_voters(config) > 0;
}

int myco__rlog_config_read(struct myco_slice bytes, struct myco__rlog_config *config)
{
    struct myco_reader reader = myco_reader(bytes.data, bytes.size);
    *config = (struct myco__rlog_config){.count = myco_read_u16(&reader)};
    if (config->count > MYCO__RLOG_SERVERS_MAX) return MYCO_EPROTO;
    for (size_t i = 0; i < config->count; i++) {
        config->servers[i].id = myco_read_u64(&reader);
        config->servers[i].role = (enum myco_role)myco_read_u8(&reader);
    }
    if (!myco_read_done(&reader) || !myco__rlog_config_valid(config)) return MYCO_EPROTO;
    return 0;
}

const struct myco_log_server *myco__rlog_config_find(
    const struct myco__rlog_config *config, uint64_t id)
{
    for (size_t i = 0; i < config->count; i++)
        if (config->servers[i].id == id) return &config->servers[i];
    return NULL;
}

size_t myco__rlog_config_voters(const struct myco__rlog_config *config)
{
    size_t count = 0;
    for (size_t i = 0; i < config->count; i++) count += config->servers[i].role == MYCO_ROLE_VOTER;
    return count;
}

int myco__rlog_config_to_raft(
    const struct myco__rlog_config *config, struct raft_configuration *raft)
{
    raft_configuration_init(raft);
    for (size_t i = 0; i < config->count; i++) {
        char address[20];
        snprintf(address, sizeof address, "%016llx", (unsigned long long)config->servers[i].id);
        if (raft_configuration_add(
                raft, config->servers[i].id, address, (int)config->servers[i].role) != 0) {
            raft_configuration_close(raft);
            return MYCO_ENOMEM; /* nothing else is possible for a valid one */
        }
    }
    return 0;
}

void myco__rlog_config_from_raft(
    struct myco__rlog_config *config, const struct raft_configuration *raft, uint64_t index)
{
    *config = (struct myco__rlog_config){.index = index};
    for (unsigned i = 0; i < raft->n && i < MYCO__RLOG_SERVERS_MAX; i++) {
        config->servers[i].id = raft->servers[i].id;
        config->servers[i].role = (enum myco_role)raft->servers[i].role;
        config->count++;
    }
}

int myco__rlog_config_body_to_raft(struct myco_slice body, struct raft_buffer *to)
{
    struct myco__rlog_config config;
    int status = myco__rlog_config_read(body, &config);
    if (status != 0) return status;
    struct raft_configuration raft;
    if ((status = myco__rlog_config_to_raft(&config, &raft)) != 0) return status;
    if (raft_configuration_encode(&raft, to) != 0) status = MYCO_ENOMEM;
    raft_configuration_close(&raft);
    return status;
}

int myco__rlog_config_body_from_raft(const struct raft_buffer *body, struct myco_buf *to)
{
    struct raft_configuration raft;
    if (raft_configuration_decode(body, &raft) != 0)
        return MYCO_ENOMEM; /* we encoded it ourselves */
    struct myco__rlog_config config;
    myco__rlog_config_from_raft(&config, &raft, 0);
    raft_configuration_close(&raft);
    myco__rlog_config_write(to, &config);
    return to->failed ? MYCO_ENOMEM : 0;
}
