/* Opens the object store that a URL names, and takes it down again in the right order: the store
 * itself, then what is below it. Modules stay loaded for the life of the process. */
#include "host/store.h"

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "env/uv_disk.h"
#include "host/lua_path.h"

#define NAME_MAX_SIZE 31

/* The folder after "file:"; file:///a is /a. NULL: another kind of store. */
static const char *folder_of(const char *url)
{
    if (strncmp(url, "file:", 5) != 0 || url[5] == '\0') return NULL;
    return strncmp(url + 5, "//", 2) == 0 ? url + 7 : url + 5;
}

/* "s3" of "s3://bucket/…"; libs3, which is under another licence, only when it is asked for. */
static bool module_name(const char *url, char name[NAME_MAX_SIZE + 1])
{
    size_t size = strspn(url, "abcdefghijklmnopqrstuvwxyz0123456789-");
    if (size == 0 || size > NAME_MAX_SIZE || strncmp(url + size, "://", 3) != 0) return false;
    memcpy(name, url, size);
    name[size] = '\0';
    if (strcmp(name, "s3") == 0 && strstr(url, "signature=v2") != NULL) strcpy(name, "s3-libs3");
    return true;
}

static const struct myco_store_module *load(const char *name, struct myco_err *err)
{
    char path[MYCO_LUA_PATH_MAX];
    if (!myco_module_path(name, path)) {
        myco_err(err, MYCO_ENOTFOUND, "there is no module for it: %s is not installed", path);
        return NULL;
    }
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (library == NULL) {
        myco_err(err, MYCO_EIO, "%s", dlerror());
        return NULL;
    }
    const struct myco_store_module *module = dlsym(library, MYCO_STORE_MODULE);
    if (module == NULL)
        myco_err(err, MYCO_EINVAL, "%s is no module of an object store", path);
    else if (strcmp(module->version(), myco_version()) != 0)
        myco_err(err, MYCO_EVERSION, "%s is of version %s, this is %s", path, module->version(),
            myco_version());
    else
        return module;
    dlclose(library);
    return NULL;
}

static const struct myco_store_module *module_of(const char *url, struct myco_err *err)
{
    char name[NAME_MAX_SIZE + 1];
    if (module_name(url, name)) return load(name, err);
    myco_err(
        err, MYCO_EINVAL, "should be file:FOLDER or s3://BUCKET/PREFIX?endpoint=URL&region=REGION");
    return NULL;
}

int node_store_check(const char *url, struct myco_err *err)
{
    if (folder_of(url) != NULL) return 0;
    const struct myco_store_module *module = module_of(url, err);
    int rc = module == NULL ? err->code : module->check(url, err);
    return rc ? myco_err_wrap(err, "\"%.200s\"", url) : 0;
}

int node_store_open(struct node_store *store, uv_loop_t *loop, struct myco_env *env,
    const char *url, struct myco_err *err)
{
    const char *folder = folder_of(url);
    int rc;
    if (folder != NULL) {
        rc = myco_uv_disk_open(loop, folder, &store->disk, err);
        if (rc == 0) store->object = myco_object_file(env, store->disk);
    } else {
        store->module = module_of(url, err);
        rc = store->module == NULL
                 ? err->code
                 : store->module->open(loop, env, url, &store->object, &store->handle, err);
    }
    return rc ? myco_err_wrap(err, "store %.200s", url) : 0;
}

void node_store_close(struct node_store *store, void (*closed)(void *data), void *data)
{
    struct node_store was = *store;
    memset(store, 0, sizeof(*store));
    if (was.object != NULL) was.object->ops->close(was.object);
    if (was.disk != NULL)
        myco_uv_disk_close(was.disk, closed, data);
    else if (was.handle != NULL)
        was.module->close(was.handle, closed, data);
    else
        closed(data);
}
