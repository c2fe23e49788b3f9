/* What a policy of each kind may answer. A wrong answer is refused as a whole: the last good one
 * stays. */
#ifndef MYCO_BRIDGE_ANSWERS_H
#define MYCO_BRIDGE_ANSWERS_H

#include <lua.h>
#include <stdbool.h>

bool myco__answer_known(int kind); /* whether anything asks a policy of this kind today */
/* Raises when the answer at the index does not fit the world at the other. */
void myco__answer_check(lua_State *L, int kind, int world, int answer);

#endif
