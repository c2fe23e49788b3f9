/* Named fault points, compiled out unless MYCO_FAULTS: if (MYCO_FAULT("journal.sync")) return
 * MYCO_EIO; */
#ifndef MYCO_BASE_FAULT_H
#define MYCO_BASE_FAULT_H

#include <stdbool.h>

#ifdef MYCO_FAULTS
bool myco__fault(const char *name);
#define MYCO_FAULT(name) myco__fault(name)
#else
#define MYCO_FAULT(name) false
#endif

/* Arms `name` to fail the next `times` passes after `skip` good ones; times -1: for ever, 0:
 * disarm. */
void myco_fault_arm(const char *name, long skip, long times);
void myco_fault_disarm_all(void);

#endif
