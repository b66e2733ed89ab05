/* Work that is divided among threads: whoever is free takes the next item.
 *
 * Nobody waits for a thread that has not begun. Where other processes hold the cores, the caller
 * does all items itself, so that a busy machine costs no more than its share. A thread sleeps when
 * it has nothing to do. Which thread computes an item never changes a bit.
 */
#ifndef BIRNN_THREADS
#define BIRNN_THREADS
#include <stddef.h>

/* Call work(shared, item) for every item from 0 to items - 1, in at most `threads` threads */
void birnn_divide(void (*work)(void *, ptrdiff_t), void *shared, ptrdiff_t items, int threads);

#endif
