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

/* Another library's threads, to work in instead of our own: OpenMP's wait by spinning, so that ours
 * would have no core beside them. Its function is GNU's GOMP_parallel, which runs take(job) in so
 * many threads and returns when all have ended. */
typedef void birnn_team(void (*take)(void *), void *job, unsigned threads, unsigned flags);
extern birnn_team *birnn_borrowed;

#endif
