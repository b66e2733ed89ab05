#include "threads.h"

#include <stdatomic.h>

/* ---- what a system has of threads ---- */

static void *help(void *nothing);

#ifdef _WIN32
#define WIN32_LEAN_AND_MEAN
#include <windows.h>

typedef SRWLOCK mutex;
typedef CONDITION_VARIABLE condition;
#define MUTEX SRWLOCK_INIT
#define CONDITION CONDITION_VARIABLE_INIT

static void lock(mutex *m) { AcquireSRWLockExclusive(m); }
static int lock_if_free(mutex *m) { return TryAcquireSRWLockExclusive(m) != 0; }
static void unlock(mutex *m) { ReleaseSRWLockExclusive(m); }
static void sleep_until(condition *c, mutex *m) { SleepConditionVariableSRW(c, m, INFINITE, 0); }
static void wake_one(condition *c) { WakeConditionVariable(c); }
static void wake_all(condition *c) { WakeAllConditionVariable(c); }

static DWORD WINAPI begin(void *nothing) {
    help(nothing);
    return 0;
}
static int begin_helper(void) {
    HANDLE thread = CreateThread(NULL, 0, begin, NULL, 0, NULL);
    return thread && CloseHandle(thread);
}
#else
#include <pthread.h>

typedef pthread_mutex_t mutex;
typedef pthread_cond_t condition;
#define MUTEX PTHREAD_MUTEX_INITIALIZER
#define CONDITION PTHREAD_COND_INITIALIZER

static void lock(mutex *m) { pthread_mutex_lock(m); }
static int lock_if_free(mutex *m) { return pthread_mutex_trylock(m) == 0; }
static void unlock(mutex *m) { pthread_mutex_unlock(m); }
static void sleep_until(condition *c, mutex *m) { pthread_cond_wait(c, m); }
static void wake_one(condition *c) { pthread_cond_signal(c); }
static void wake_all(condition *c) { pthread_cond_broadcast(c); }

static int begin_helper(void) {
    pthread_t thread;
    return !pthread_create(&thread, NULL, help, NULL) && !pthread_detach(thread);
}
#endif

/* ---- jobs, whose items are taken one by one ---- */

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
    mutex busy; /* held by the caller whose job this is */
    mutex own;  /* of what stands below */
    condition wanted, done;
    int helpers, wanting, working; /* started; still to join this job; in it */
    struct job *job;
} pool = {.busy = MUTEX, .own = MUTEX, .wanted = CONDITION, .done = CONDITION};

static void *help(void *nothing) {
    lock(&pool.own);
    for (;;) {
        while (pool.wanting == 0) sleep_until(&pool.wanted, &pool.own);
        pool.wanting--, pool.working++;
        struct job *job = pool.job;
        unlock(&pool.own);
        take_items(job);
        lock(&pool.own);
        if (--pool.working == 0) wake_one(&pool.done);
    }
    return nothing;
}

static birnn_team *borrowed;
static int forked;

#ifdef _WIN32
static int forks_seen_to(void) { return 1; } /* there are none */
#else
/* A forked child has no helpers, and nobody holds its locks; nor has it another's team */
static void forget(void) {
    borrowed = NULL, forked = 1;
    pthread_mutex_init(&pool.busy, NULL), pthread_mutex_init(&pool.own, NULL);
    pthread_cond_init(&pool.wanted, NULL), pthread_cond_init(&pool.done, NULL);
    pool.helpers = pool.wanting = pool.working = 0;
}

static int forks_seen_to(void) {
    static int done;
    if (!done) done = pthread_atfork(NULL, NULL, forget) == 0;
    return done;
}
#endif

void birnn_borrow(birnn_team *team) {
    forks_seen_to();
    borrowed = forked ? NULL : team;
}

static void share(struct job *job, int helpers) {
    lock(&pool.own);
    while (pool.helpers < helpers && pool.helpers < MOST_HELPERS && begin_helper()) pool.helpers++;
    pool.job = job;
    pool.wanting = helpers < pool.helpers ? helpers : pool.helpers;
    wake_all(&pool.wanted);
    unlock(&pool.own);
    take_items(job);
    lock(&pool.own);
    pool.wanting = 0; /* who has not begun need not */
    while (pool.working) sleep_until(&pool.done, &pool.own);
    unlock(&pool.own);
}

void birnn_divide(void (*work)(void *, ptrdiff_t), void *shared, ptrdiff_t items, int threads) {
    struct job job = {.work = work, .shared = shared, .items = items};
    int helpers = (int)(threads < items ? threads : items) - 1;
    if (helpers < 1 || !forks_seen_to()) take_items(&job);
    else if (borrowed) borrowed(take_items, &job, (unsigned)helpers + 1, 0);
    else if (!lock_if_free(&pool.busy)) take_items(&job); /* a second caller at once */
    else share(&job, helpers), unlock(&pool.busy);
}
