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

/* Work in another library's threads instead of our own, or in our own for NULL: OpenMP's wait by
 * spinning, so that ours would have no core beside them. Its function is GNU's GOMP_parallel, which
 * runs take(job) in so many threads and returns when all have ended. A process that was forked after
 * the first such call has no thread of another library: it waits for none, and uses its own. */
typedef void birnn_team(void (*take)(void *), void *job, unsigned threads, unsigned flags);
void birnn_borrow(birnn_team *team);

#endif
