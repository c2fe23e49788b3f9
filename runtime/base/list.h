/* An intrusive, circular, doubly linked list: a head and members are the same struct. */
#ifndef MYCO_BASE_LIST_H
#define MYCO_BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

struct myco_list {
    struct myco_list *next, *prev;
};

#define MYCO_CONTAINER(pointer, type, member) ((type *)((char *)(pointer)-offsetof(type, member)))

static inline void myco_list_init(struct myco_list *list)
{
    list->next = list->prev = list;
}
static inline bool myco_list_empty(const struct myco_list *list)
{
    return list->next == list;
}
static inline void myco_list_append(struct myco_list *head, struct myco_list *item)
{
    item->prev = head->prev;
    item->next = head;
    head->prev->next = item;
    head->prev = item;
}
/* Leaves `item` as a list of its own, so that removing twice is harmless. */
static inline void myco_list_remove(struct myco_list *item)
{
    item->prev->next = item->next;
    item->next->prev = item->prev;
    myco_list_init(item);
}
static inline struct myco_list *myco_list_pop(struct myco_list *head) /* NULL when empty */
{
    struct myco_list *item = head->next;
    if (item == head) return NULL;
    myco_list_remove(item);
    return item;
}
/* `item` may be removed in the body, others not. */
#define MYCO_LIST_EACH(item, head)                                                                 \
    for (struct myco_list *item = (head)->next, *item##_next = item->next; item != (head);         \
         item = item##_next, item##_next = item->next)

#endif
