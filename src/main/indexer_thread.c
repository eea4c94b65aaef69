/*
 * indexer_thread.c: the thread in the recorder's process that keeps the index: at idle priority, off the
 * commit path. It shares nothing with the recorder but the files, which it reads as any reader does.
 *
 *   pass … sleep (at least PAUSE, and nine times as long as the pass took) … pass …
 *
 * Whatever goes wrong stays here: a database that is damaged is removed and made again, one that cannot
 * be written is left alone for a minute; searches read the record meanwhile. Sessions of the last two days
 * are looked at in each pass, older ones (which are open for long) once an hour.
 */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "base/clock.h"
#include "base/log.h"
#include "ipc/start.h"
#include "main/indexer.h"
#include "record/recorder.h"

#define PAUSE (2 * NS_PER_S)
#define PAUSE_MAX (5 * 60 * NS_PER_S)
#define PAUSE_BROKEN (60 * NS_PER_S)
#define ALL_EVERY (3600 * NS_PER_S)
#define RECENT (2 * 86400 * NS_PER_S)
enum { IOPRIO_WHO_PROCESS = 1, IOPRIO_IDLE = 3 << 13 };

struct indexer {
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	atomic_bool stop;
	char *store, *dir;
	struct indexer_options o;
	struct index *x;
	int writer;
	uint64_t dropped_at; /* the last time that it was damaged */
	uint64_t all_at;     /* when all sessions were looked at last; 0: not yet */
	bool said_full, said_broken;
};

static void be_idle(void) {
	const struct sched_param none = { .sched_priority = 0 };

	(void)sched_setscheduler(0, SCHED_IDLE, &none);
	(void)syscall(SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0, IOPRIO_IDLE);
}

/* False when it is time to go. */
static bool pause_for(struct indexer *ix, uint64_t ns) {
	struct timespec until;
	uint64_t at = mono_ns() + ns;
	int rc = 0;

	until.tv_sec = (time_t)(at / NS_PER_S);
	until.tv_nsec = (long)(at % NS_PER_S);
	(void)pthread_mutex_lock(&ix->lock);
	while (!atomic_load(&ix->stop) && rc != ETIMEDOUT)
		rc = pthread_cond_timedwait(&ix->wake, &ix->lock, &until);
	(void)pthread_mutex_unlock(&ix->lock);
	return !atomic_load(&ix->stop);
}

static void forget(struct indexer *ix) {
	index_close(&ix->x);
	ix->all_at = 0;
}

/* Once per trouble: what does not change is not said every minute. */
static void broken(struct indexer *ix, int code, const char *text) {
	if (!ix->said_broken)
		log_error("index.failed", kv_err(code), kv_z("reason", text),
		          kv_z("hint", "searches read the record itself until the index is "
		                       "there again"));
	ix->said_broken = true;
}

static int get_ready(struct indexer *ix) {
	struct err e = { .code = 0 };
	int rc = 0;

	if (ix->writer < 0) {
		ix->writer = index_lock(ix->dir);
		rc = MIN(ix->writer, 0);
	}
	if (rc < 0 || ix->x != NULL)
		return rc;
	rc = index_open_write(&ix->x, ix->dir, "index.db", true, &e);
	if (rc == H_EFORMAT || rc == H_EVERSION) {
		log_warn("index.dropped", kv_z("reason", e.text));
		index_remove(ix->dir, "index.db");
		rc = index_open_write(&ix->x, ix->dir, "index.db", true, &e);
	}
	if (rc < 0)
		broken(ix, rc, e.text);
	return rc;
}

/* `hansard reindex` asked: a new one is made aside, the old one serves until then. */
static int rebuild_if_asked(struct indexer *ix) {
	auto_free char *flag = xasprintf("%s/" INDEXER_REBUILD_FILE, ix->dir);
	struct indexer_result got;
	struct err e = { .code = 0 };
	struct stat st;

	if (lstat(flag, &st) != 0)
		return 0;
	log_info("index.rebuild.started");
	forget(ix);
	int rc = indexer_rebuild(&ix->o, &got, &e);

	if (rc != H_EDRAIN)
		(void)unlink(flag);
	if (rc < 0 && rc != H_EDRAIN)
		broken(ix, rc, e.text);
	if (rc == 0)
		log_info("index.rebuild.done", kv_uint("sessions", got.added));
	return rc;
}

static void say_full(struct indexer *ix, const struct indexer_result *got) {
	if (got->is_full && !ix->said_full)
		log_warn("index.full", kv_uint("behind", got->behind),
		         kv_z("hint", "new sessions are not indexed for want of room; searches "
		                      "read them in the record"));
	ix->said_full = got->is_full;
}

/* Damage shows as wrong contents or as reads that fail: the file goes, once a minute at most. How long to
 * sleep. */
static uint64_t after_failure(struct indexer *ix, int rc) {
	uint64_t now = mono_ns();
	bool is_damage = rc == H_EFORMAT || rc == H_EIO;

	if (rc == H_EDRAIN || rc == H_EBUSY || rc == H_ENOTFOUND)
		return PAUSE;
	if (!is_damage || (ix->dropped_at != 0 && now - ix->dropped_at < PAUSE_BROKEN)) {
		broken(ix, rc, h_err_text(rc));
		return PAUSE_BROKEN;
	}
	ix->dropped_at = now;
	log_warn("index.dropped", kv_err(rc));
	index_remove(ix->dir, "index.db");
	return PAUSE;
}

/* How long to sleep. */
static uint64_t one_pass(struct indexer *ix) {
	struct indexer_result got = { .added = 0 };
	uint64_t began = mono_ns();
	uint64_t now = wall_ns();
	bool is_all = ix->all_at == 0 || began - ix->all_at > ALL_EVERY;
	int rc = get_ready(ix);

	if (rc == 0)
		rc = rebuild_if_asked(ix);
	if (rc == 0)
		rc = get_ready(ix);
	if (rc == 0)
		rc = indexer_pass(ix->x, &ix->o, is_all || now < RECENT ? 0 : now - RECENT, &got);
	if (rc == 0) {
		ix->all_at = is_all ? began : ix->all_at;
		ix->said_broken = false;
		say_full(ix, &got);
		uint64_t took = mono_ns() - began;

		return MIN(MAX(took * 9, (uint64_t)PAUSE), (uint64_t)PAUSE_MAX);
	}
	forget(ix);
	return after_failure(ix, rc);
}

static void *run(void *arg) {
	struct indexer *ix = arg;

	(void)pthread_setname_np(pthread_self(), "index");
	be_idle();
	while (pause_for(ix, one_pass(ix)))
		continue;
	index_close(&ix->x);
	if (ix->writer >= 0)
		(void)close(ix->writer);
	return NULL;
}

static void free_indexer(struct indexer *ix) {
	free(ix->store);
	free(ix->dir);
	free(ix);
}

static void *start_thread_beside(const struct start *s) {
	struct indexer *ix = xcalloc(1, sizeof(*ix));
	pthread_condattr_t attr;

	ix->writer = -1;
	ix->store = str_dup(s->store_path);
	ix->dir = index_dir(ix->store);
	ix->o = (struct indexer_options){
		.store = ix->store,
		.stop = &ix->stop,
		.size_max = s->store_max / RECORDER_INDEX_SHARE,
		.room_min = 4 * (s->segment_size != 0 ? s->segment_size : (uint64_t)64 << 20)
	};
	(void)pthread_mutex_init(&ix->lock, NULL);
	(void)pthread_condattr_init(&attr);
	(void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	(void)pthread_cond_init(&ix->wake, &attr);
	(void)pthread_condattr_destroy(&attr);
	if (pthread_create(&ix->thread, NULL, run, ix) != 0) {
		log_error("index.failed", kv_err(H_ENOMEM));
		free_indexer(ix);
		return NULL;
	}
	return ix;
}

static void stop_thread_beside(void *arg) {
	struct indexer *ix = arg;

	if (ix == NULL)
		return;
	(void)pthread_mutex_lock(&ix->lock);
	atomic_store(&ix->stop, true);
	(void)pthread_cond_signal(&ix->wake);
	(void)pthread_mutex_unlock(&ix->lock);
	(void)pthread_join(ix->thread, NULL);
	(void)pthread_cond_destroy(&ix->wake);
	(void)pthread_mutex_destroy(&ix->lock);
	free_indexer(ix);
}

const struct recorder_beside indexer_beside = { .start = start_thread_beside,
	                                        .stop = stop_thread_beside };
