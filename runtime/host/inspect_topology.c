/* Looking into a node: who is linked with it, who is reached over hubs, and by which. */
#include "host/inspect.h"

static const char *name_of(const struct myco_core *core, uint64_t id)
{
    const struct myco_member *member = id ? myco_swim_get(core->swim, id) : NULL;
    if (id == core->identity.id) return core->name;
    return member ? member->name : "";
}

static const char *role_of(const struct myco_route_place *place)
{
    return !place->id ? "" : place->hub == place->id ? "hub" : "leaf";
}

static void pack_name(
    msgpack_packer *pack, const struct myco_core *core, const char *key, uint64_t id)
{
    myco_pack_key_str(pack, key, name_of(core, id));
}

static void pack_peer(
    msgpack_packer *pack, const struct myco_core *core, const struct myco_route_view *view)
{
    msgpack_pack_map(pack, 9);
    pack_name(pack, core, "name", view->id);
    myco_pack_str(pack, "id");
    myco_pack_id(pack, view->id);
    myco_pack_key_str(pack, "role", role_of(&view->place));
    pack_name(pack, core, "hub", view->place.hub);
    pack_name(pack, core, "standby", view->place.standby);
    myco_pack_key_str(pack, "path", view->direct ? "direct" : view->up ? "hubs" : "none");
    pack_name(pack, core, "via", view->direct ? 0 : view->via);
    myco_pack_key_bool(pack, "wanted", myco_route_wants(core->route, view->id));
    myco_pack_key_bool(pack, "invited", view->invited);
}

static void pack_dropped(msgpack_packer *pack, const struct myco_route_stats *stats)
{
    msgpack_pack_map(pack, MYCO_ROUTE_DROP_COUNT);
    for (int why = 0; why < MYCO_ROUTE_DROP_COUNT; why++)
        myco_pack_key_u64(
            pack, myco_route_drop_text((enum myco_route_drop)why), stats->dropped[why]);
}

void inspect_topology(struct myco_core *core, msgpack_packer *pack)
{
    struct myco_route_stats stats;
    struct myco_route_view view;
    uint32_t cursor = 0;
    myco_route_stats(core->route, &stats);
    msgpack_pack_map(pack, 12);
    myco_pack_key_str(pack, "name", core->name);
    myco_pack_key_bool(pack, "mesh", stats.mesh);
    myco_pack_key_str(pack, "role", role_of(&stats.place));
    pack_name(pack, core, "hub", stats.place.hub);
    pack_name(pack, core, "standby", stats.place.standby);
    myco_pack_key_u64(pack, "connections", stats.links);
    myco_pack_key_u64(pack, "over_hubs", stats.sessions);
    myco_pack_key_u64(pack, "relayed_messages", stats.relayed_messages);
    myco_pack_key_u64(pack, "relayed_bytes", stats.relayed_bytes);
    myco_pack_key_u64(pack, "resets", stats.resets);
    myco_pack_str(pack, "dropped");
    pack_dropped(pack, &stats);
    myco_pack_str(pack, "peers");
    msgpack_pack_array(pack, stats.peers);
    while (myco_route_next(core->route, &cursor, &view)) pack_peer(pack, core, &view);
}
