#include "par.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <unistd.h>

#include "mem.h"

/*
 * One generation counter starts a batch, one countdown ends it. Workers spin
 * briefly before they sleep: batches follow each other within microseconds in
 * a forward pass, and a futex round trip would cost more than the work.
 */
enum { SPIN = 2000 };

struct worker {
	struct par *pool;
	pthread_t id;
	int thread;
};

/* A thread's share of a batch: neighbours, so that what a thread wrote in one batch
 * is near it in the next, if that has its items in the same order. Caches are not
 * all one: where processors have a last one each for a few of them, a line that
 * another one wrote comes from further away than memory. */
struct share {
	_Alignas(64) atomic_size_t next;
	size_t end;
};

struct par {
	int n_threads;
	struct worker *workers;		/* n_threads - 1 of them started */
	int n_started;
	pthread_mutex_t lock;
	pthread_cond_t go, done;
	atomic_uint generation;
	atomic_int busy;
	struct share *shares;		/* [n_threads] */
	par_fn *fn;
	void *ctx;
	atomic_int quit;
};

#ifdef __SANITIZE_THREAD__
/* Items are dealt out at random instead, by their number and the batch's: the
 * counter would order items among themselves and hide from the sanitizer what
 * those share that do not happen to run at once. */
static int is_dealt(struct par *p, size_t item, int thread)
{
	unsigned h = ((unsigned)item + 1) * 2654435761u ^
	             atomic_load(&p->generation) * 2246822519u;

	h = (h ^ h >> 15) * 2246822519u;
	return (h ^ h >> 13) % (unsigned)p->n_threads == (unsigned)thread;
}

static void drain(struct par *p, int thread)
{
	size_t n = p->shares[p->n_threads - 1].end, i;

	for (i = 0; i < n; i++)
		if (is_dealt(p, i, thread))
			p->fn(p->ctx, i, thread);
}
#else
/* Its own share, then what is left of the others'. */
static void drain(struct par *p, int thread)
{
	int other;
	size_t i;

	for (other = 0; other < p->n_threads; other++) {
		struct share *s = &p->shares[(thread + other) % p->n_threads];

		while ((i = atomic_fetch_add(&s->next, 1)) < s->end)
			p->fn(p->ctx, i, thread);
	}
}
#endif

static void pause_cpu(void)
{
#if defined(__x86_64__)
	__builtin_ia32_pause();
#endif
}

static void *worker_main(void *arg)
{
	struct worker *w = arg;
	struct par *p = w->pool;
	unsigned seen = 0;

	for (;;) {
		int spins = 0;

		while (atomic_load(&p->generation) == seen && spins++ < SPIN)
			pause_cpu();
		if (atomic_load(&p->generation) == seen) {
			pthread_mutex_lock(&p->lock);
			while (atomic_load(&p->generation) == seen)
				pthread_cond_wait(&p->go, &p->lock);
			pthread_mutex_unlock(&p->lock);
		}
		seen++;
		if (atomic_load(&p->quit))
			return NULL;
		drain(p, w->thread);
		if (atomic_fetch_sub(&p->busy, 1) == 1) {
			pthread_mutex_lock(&p->lock);
			pthread_cond_signal(&p->done);
			pthread_mutex_unlock(&p->lock);
		}
	}
}

struct par *par_new(int n_threads, struct err *e)
{
	struct par *p;
	int i;

	if (n_threads < 1 || n_threads > 4096) {
		err_set(e, ERR_RANGE, "%d threads wanted", n_threads);
		return NULL;
	}
	p = mem_array(1, sizeof(*p), e);
	if (!p)
		return NULL;
	p->n_threads = n_threads;
	pthread_mutex_init(&p->lock, NULL);
	pthread_cond_init(&p->go, NULL);
	pthread_cond_init(&p->done, NULL);
	p->workers = mem_array((size_t)n_threads, sizeof(*p->workers), e);
	p->shares = mem_array((size_t)n_threads, sizeof(*p->shares), e);
	if (!p->workers || !p->shares)
		goto fail;
	for (i = 1; i < n_threads; i++) {
		struct worker *w = &p->workers[p->n_started];

		w->pool = p;
		w->thread = i;
		if (pthread_create(&w->id, NULL, worker_main, w) != 0) {
			err_set(e, ERR_IO, "cannot start thread %d of %d",
			        i + 1, n_threads);
			goto fail;
		}
		p->n_started++;
	}
	return p;
fail:
	par_free(p);
	return NULL;
}

static void wake(struct par *p)
{
	pthread_mutex_lock(&p->lock);
	atomic_fetch_add(&p->generation, 1);
	pthread_cond_broadcast(&p->go);
	pthread_mutex_unlock(&p->lock);
}

void par_free(struct par *p)
{
	int i;

	if (!p)
		return;
	atomic_store(&p->quit, 1);
	wake(p);
	for (i = 0; i < p->n_started; i++)
		pthread_join(p->workers[i].id, NULL);
	pthread_cond_destroy(&p->done);
	pthread_cond_destroy(&p->go);
	pthread_mutex_destroy(&p->lock);
	mem_free(p->workers);
	mem_free(p->shares);
	mem_free(p);
}

int par_threads(const struct par *p)
{
	return p ? p->n_threads : 1;
}

/* Where thread i's share of n begins. */
static size_t share_start(const struct par *p, size_t n, size_t i)
{
	size_t t = (size_t)par_threads(p);

	return n / t * i + n % t * i / t;
}

size_t par_mirror(const struct par *p, size_t n, size_t item)
{
	size_t i = 0;

	while (share_start(p, n, i + 1) <= item)
		i++;
	return share_start(p, n, i) + share_start(p, n, i + 1) - 1 - item;
}

void par_for(struct par *p, size_t n, par_fn *fn, void *ctx)
{
	size_t i;
	int spins = 0;

	if (!p || p->n_started == 0 || n <= 1) {
		for (i = 0; i < n; i++)
			fn(ctx, i, 0);
		return;
	}
	p->fn = fn;
	p->ctx = ctx;
	for (i = 0; i < (size_t)p->n_threads; i++) {
		atomic_store(&p->shares[i].next, share_start(p, n, i));
		p->shares[i].end = share_start(p, n, i + 1);
	}
	atomic_store(&p->busy, p->n_started);
	wake(p);
	drain(p, 0);
	while (atomic_load(&p->busy) && spins++ < SPIN)
		pause_cpu();
	pthread_mutex_lock(&p->lock);
	while (atomic_load(&p->busy))
		pthread_cond_wait(&p->done, &p->lock);
	pthread_mutex_unlock(&p->lock);
}

int par_cores(void)
{
	cpu_set_t set;
	long n;

	if (sched_getaffinity(0, sizeof(set), &set) == 0 && CPU_COUNT(&set) > 0)
		return CPU_COUNT(&set);
	n = sysconf(_SC_NPROCESSORS_ONLN);
	return n > 0 ? (int)n : 1;
}
