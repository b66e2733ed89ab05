#include "threads.h"

#ifdef _WIN32 /* one thread, until somebody who has Windows writes this */
void birnn_divide(void (*work)(void *, ptrdiff_t), void *shared, ptrdiff_t items, int threads) {
    (void)threads;
    for (ptrdiff_t item = 0; item < items; item++) work(shared, item);
}
#else
#include <pthread.h>
#include <stdatomic.h>

enum { MOST_HELPERS = 63 };

static struct {
    pthread_mutex_t busy; /* held by the caller whose work this is */
    pthread_mutex_t lock; /* of what stands below */
    pthread_cond_t wanted, done;
    int helpers, wanting, working; /* started; still to join this work; in it */
    void (*work)(void *, ptrdiff_t);
    void *shared;
    ptrdiff_t items;
    atomic_ptrdiff_t next;
} pool = {.busy = PTHREAD_MUTEX_INITIALIZER,
          .lock = PTHREAD_MUTEX_INITIALIZER,
          .wanted = PTHREAD_COND_INITIALIZER,
          .done = PTHREAD_COND_INITIALIZER};

static void take_items(void) {
    for (ptrdiff_t item; (item = atomic_fetch_add(&pool.next, 1)) < pool.items;)
        pool.work(pool.shared, item);
}

static void *help(void *nothing) {
    pthread_mutex_lock(&pool.lock);
    for (;;) {
        while (pool.wanting == 0) pthread_cond_wait(&pool.wanted, &pool.lock);
        pool.wanting--, pool.working++;
        pthread_mutex_unlock(&pool.lock);
        take_items();
        pthread_mutex_lock(&pool.lock);
        if (--pool.working == 0) pthread_cond_signal(&pool.done);
    }
    return nothing;
}

/* A forked child has no helpers, and nobody holds its locks */
static void forget(void) {
    pthread_mutex_init(&pool.busy, NULL), pthread_mutex_init(&pool.lock, NULL);
    pthread_cond_init(&pool.wanted, NULL), pthread_cond_init(&pool.done, NULL);
    pool.helpers = pool.wanting = pool.working = 0;
}

static void start(int helpers) {
    static int forks_seen_to;
    if (!forks_seen_to) forks_seen_to = pthread_atfork(NULL, NULL, forget) == 0;
    while (forks_seen_to && pool.helpers < helpers && pool.helpers < MOST_HELPERS) {
        pthread_t thread;
        if (pthread_create(&thread, NULL, help, NULL)) return;
        pthread_detach(thread);
        pool.helpers++;
    }
}

void birnn_divide(void (*work)(void *, ptrdiff_t), void *shared, ptrdiff_t items, int threads) {
    int helpers = (int)(threads < items ? threads : items) - 1;
    /* two callers at once: the second one has its own thread at least */
    if (helpers < 1 || pthread_mutex_trylock(&pool.busy)) {
        for (ptrdiff_t item = 0; item < items; item++) work(shared, item);
        return;
    }
    pthread_mutex_lock(&pool.lock);
    start(helpers);
    pool.work = work, pool.shared = shared, pool.items = items;
    atomic_store(&pool.next, 0);
    pool.wanting = helpers < pool.helpers ? helpers : pool.helpers;
    pthread_cond_broadcast(&pool.wanted);
    pthread_mutex_unlock(&pool.lock);
    take_items();
    pthread_mutex_lock(&pool.lock);
    pool.wanting = 0; /* who has not begun need not */
    while (pool.working) pthread_cond_wait(&pool.done, &pool.lock);
    pthread_mutex_unlock(&pool.lock);
    pthread_mutex_unlock(&pool.busy);
}
#endif
