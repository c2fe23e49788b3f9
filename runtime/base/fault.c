/* Named points at which a test may make things go wrong. The one table of a process, since a fault
 * point can't be handed in; it exists only in builds with MYCO_FAULTS. */
#include "base/fault.h"

#ifdef MYCO_FAULTS

#include <pthread.h>
#include <string.h>

#include "base/assert.h"
#include "base/text.h"

#define FAULTS_MAX 32

static struct fault {
    char name[48]; /* "": free */
    long skip, times;
} faults[FAULTS_MAX];
static int armed_count;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static struct fault *find(const char *name)
{
    for (int i = 0; i < FAULTS_MAX; i++) {
        if (strcmp(faults[i].name, name) == 0) return &faults[i];
    }
    return NULL;
}

static void disarm(struct fault *fault)
{
    *fault = (struct fault){0};
    __atomic_fetch_sub(&armed_count, 1, __ATOMIC_RELAXED);
}

static bool pass(struct fault *fault)
{
    if (fault->skip > 0) {
        fault->skip--;
        return false;
    }
    if (fault->times > 0 && --fault->times == 0) disarm(fault);
    return true;
}

bool myco__fault(const char *name)
{
    if (__atomic_load_n(&armed_count, __ATOMIC_RELAXED) == 0) return false;
    pthread_mutex_lock(&lock);
    struct fault *fault = find(name);
    bool hit = fault != NULL && pass(fault);
    pthread_mutex_unlock(&lock);
    return hit;
}

void myco_fault_arm(const char *name, long skip, long times)
{
    MYCO_ASSERT(name[0] != '\0');
    pthread_mutex_lock(&lock);
    struct fault *fault = find(name);
    if (fault != NULL) disarm(fault);
    if (times != 0) {
        fault = find("");
        MYCO_ASSERT(fault != NULL);
        bool fits = myco_text_copy(fault->name, sizeof fault->name, name);
        MYCO_ASSERT(fits);
        fault->skip = skip;
        fault->times = times;
        __atomic_fetch_add(&armed_count, 1, __ATOMIC_RELAXED);
    }
    pthread_mutex_unlock(&lock);
}

void myco_fault_disarm_all(void)
{
    pthread_mutex_lock(&lock);
    memset(faults, 0, sizeof faults);
    __atomic_store_n(&armed_count, 0, __ATOMIC_RELAXED);
    pthread_mutex_unlock(&lock);
}

#else

void myco_fault_arm(const char *name, long skip, long times)
{
    (void)name;
    (void)skip;
    (void)times;
}

void myco_fault_disarm_all(void)
{
}

#endif
