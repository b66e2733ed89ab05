#include "threads.h"

#ifdef _WIN32 /* one thread, until somebody who has Windows writes this */
void birnn_divide(void (*work)(void *, ptrdiff_t), void *shared, ptrdiff_t items, int threads) {
    (void)threads;
    for (ptrdiff_t item = 0; item < items; item++) work(shared, item);
}
void birnn_borrow(birnn_team *team) { (void)team; }
#else
#include <pthread.h>
#include <stdatomic.h>

enum { MOST_HELPERS = 63 };

struct job {
    void (*work)(void *, ptrdiff_t);
    void *shared;
    ptrdiff_t items;
    atomic_ptrdiff_t next;
};

static void take_items(void *of) {
    struct job *job = of;
    for (ptrdiff_t item; (item = atomic_fetch_add(&job->next, 1)) < job->items;)
        job->work(job->shared, item);
}

static struct {
    pthread_mutex_t busy; /* held by the caller whose job this is */
    pthread_mutex_t lock; /* of what stands below */
    pthread_cond_t wanted, done;
    int helpers, wanting, working; /* started; still to join this job; in it */
    struct job *job;
} pool = {.busy = PTHREAD_MUTEX_INITIALIZER,
          .lock = PTHREAD_MUTEX_INITIALIZER,
          .wanted = PTHREAD_COND_INITIALIZER,
          .done = PTHREAD_COND_INITIALIZER};

static void *help(void *nothing) {
    pthread_mutex_lock(&pool.lock);
    for (;;) {
        while (pool.wanting == 0) pthread_cond_wait(&pool.wanted, &pool.lock);
        pool.wanting--, pool.working++;
        struct job *job = pool.job;
        pthread_mutex_unlock(&pool.lock);
        take_items(job);
        pthread_mutex_lock(&pool.lock);
        if (--pool.working == 0) pthread_cond_signal(&pool.done);
    }
    return nothing;
}

static birnn_team *borrowed;
static int forked;

/* A forked child has no helpers, and nobody holds its locks; nor has it another's team */
static void forget(void) {
    borrowed = NULL, forked = 1;
    pthread_mutex_init(&pool.busy, NULL), pthread_mutex_init(&pool.lock, NULL);
    pthread_cond_init(&pool.wanted, NULL), pthread_cond_init(&pool.done, NULL);
    pool.helpers = pool.wanting = pool.working = 0;
}

static int forks_seen_to(void) {
    static int done;
    if (!done) done = pthread_atfork(NULL, NULL, forget) == 0;
    return done;
}

void birnn_borrow(birnn_team *team) {
    forks_seen_to();
    borrowed = forked ? NULL : team;
}

static void start(int helpers) {
    while (pool.helpers < helpers && pool.helpers < MOST_HELPERS) {
        pthread_t thread;
        if (pthread_create(&thread, NULL, help, NULL)) return;
        pthread_detach(thread);
        pool.helpers++;
    }
}

static void share(struct job *job, int helpers) {
    pthread_mutex_lock(&pool.lock);
    start(helpers);
    pool.job = job;
    pool.wanting = helpers < pool.helpers ? helpers : pool.helpers;
    pthread_cond_broadcast(&pool.wanted);
    pthread_mutex_unlock(&pool.lock);
    take_items(job);
    pthread_mutex_lock(&pool.lock);
    pool.wanting = 0; /* who has not begun need not */
    while (pool.working) pthread_cond_wait(&pool.done, &pool.lock);
    pthread_mutex_unlock(&pool.lock);
}

void birnn_divide(void (*work)(void *, ptrdiff_t), void *shared, ptrdiff_t items, int threads) {
    struct job job = {.work = work, .shared = shared, .items = items};
    int helpers = (int)(threads < items ? threads : items) - 1;
    if (helpers < 1 || !forks_seen_to()) take_items(&job);
    else if (borrowed) borrowed(take_items, &job, (unsigned)helpers + 1, 0);
    else if (pthread_mutex_trylock(&pool.busy)) take_items(&job); /* a second caller at once */
    else share(&job, helpers), pthread_mutex_unlock(&pool.busy);
}
#endif
