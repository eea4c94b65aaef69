/*
 * log.h: one line per event on stderr, JSON or (on a terminal) text.
 *
 * An event is named area.thing.what ("worker.session.opened") and carries typed fields. Library
 * folders do not log; shells do, once per failure, at the boundary. No field helper takes a secret.
 */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include "base/err.h"
#include "base/str.h"

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR, LOG_ALARM };

struct kv {
	const char *key;
	enum { KV_END, KV_STR, KV_I64, KV_U64, KV_BOOL, KV_ERR, KV_HEX } kind;
	struct str s;
	int64_t i;
	uint64_t u;
};

static inline struct kv kv_str(const char *key, struct str s) {
	return (struct kv){ .key = key, .kind = KV_STR, .s = s };
}
static inline struct kv kv_z(const char *key, const char *z) {
	return (struct kv){ .key = key, .kind = KV_STR, .s = str_of(z) };
}
static inline struct kv kv_int(const char *key, int64_t i) {
	return (struct kv){ .key = key, .kind = KV_I64, .i = i };
}
static inline struct kv kv_uint(const char *key, uint64_t u) {
	return (struct kv){ .key = key, .kind = KV_U64, .u = u };
}
static inline struct kv kv_bool(const char *key, bool b) {
	return (struct kv){ .key = key, .kind = KV_BOOL, .u = b };
}
/* error code name and its sentence */
static inline struct kv kv_err(int code) {
	return (struct kv){ .key = "error", .kind = KV_ERR, .i = code };
}
static inline struct kv kv_hex(const char *key, struct str s) {
	return (struct kv){ .key = key, .kind = KV_HEX, .s = s };
}

/* process: "keeper", …; shown in each line. json: false for a terminal. Lowest level to print. */
void log_setup(const char *process, bool json, enum log_level lowest);
void log_line(enum log_level level, const char *event, const struct kv *fields, size_t count);

/* The first row keeps the array from being empty. */
#define LOG_FIELDS(...) ((const struct kv[]){ { .key = NULL }, ##__VA_ARGS__ })
#define log_at(level, event, ...) \
	log_line((level), (event), LOG_FIELDS(__VA_ARGS__) + 1, \
	         ARRAY_LEN(LOG_FIELDS(__VA_ARGS__)) - 1)
#define log_debug(event, ...) log_at(LOG_DEBUG, event, ##__VA_ARGS__)
#define log_info(event, ...) log_at(LOG_INFO, event, ##__VA_ARGS__)
#define log_warn(event, ...) log_at(LOG_WARN, event, ##__VA_ARGS__)
#define log_error(event, ...) log_at(LOG_ERROR, event, ##__VA_ARGS__)
/* What an operator must be woken for: lost recording, tampering. */
#define log_alarm(event, ...) log_at(LOG_ALARM, event, ##__VA_ARGS__)

/* What a peer can cause as often as it likes is logged once a second (each holder is one thread's). How many
 * times it happened since the last line, this time included; 0: no line now. */
struct log_limit {
	uint64_t next_ns, count;
};
uint64_t log_limit_pass(struct log_limit *l, uint64_t now_ns);

#endif
