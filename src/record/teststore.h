/*
 * teststore.h: builds small stores for tests, without the recorder and deterministically.
 *
 * It writes what docs/record-format.md says and nothing that a test does not ask for: sessions,
 * heads, seals, closes, batches, segments that are used again, tiles and checkpoints are separate
 * calls, so that tests can stop in any state. Failures abort: this is test code.
 *
 * The signing key is the seed of 32 × 0x01, its origin "record.example/gw1".
 */
#ifndef RECORD_TESTSTORE_H
#define RECORD_TESTSTORE_H

#include "record/frame.h"

#define TS_ORIGIN "record.example/gw1"
#define TS_VKEY "record.example/gw1+80dccf04+AYqI4910CfGV/VLbLTy6XXLKZwm/HZQSG/N0iAG0D29c"
#define TS_SEGMENT_SIZE ((size_t)64 * 1024)

struct teststore;
struct ts_session;

/* dir exists and is empty. Segments: how many journal files are used in turn, at least 2. */
struct teststore *ts_new(const char *dir, unsigned segments) must_use;
/* Writes what is in memory (the journal's current segment) and frees. Does not flush a batch. */
void ts_free(struct teststore **t);

/* The log: each leaf becomes a log frame of the current batch. */
void ts_boot(struct teststore *t);
void ts_stop(struct teststore *t);
void ts_head(struct teststore *t, struct ts_session *const *sessions, size_t count);

/* Ends the batch and writes it to the journal; goes on in the next segment when this one is full. */
void ts_flush(struct teststore *t);
/* Goes on in the next segment. When that one was used before, all frames are first moved to parts
 * and all leaves to tiles. */
void ts_next_segment(struct teststore *t);
/* Writes tiles and bundles up to now. */
void ts_tiles(struct teststore *t);
/* Signs the log as it is (all leaves must have been flushed) and writes the checkpoint. */
void ts_sign(struct teststore *t);
void ts_sign_with(struct teststore *t, const uint8_t seed[ED25519_SEED_SIZE]);

/* A session: n makes its id. Writes frame 0 and its leaf. */
struct ts_session *ts_session(struct teststore *t, unsigned n, const char *protocol) must_use;
/* Opens with this JSON in place of the default. */
struct ts_session *ts_session_json(struct teststore *t, unsigned n, struct str open_json) must_use;
const uint8_t *ts_sid(const struct ts_session *s);
/* An event for the next data frame: payload as record/event.h writes it. Time goes on by 1 µs. */
void ts_event(struct ts_session *s, uint8_t type, uint8_t stream, struct str payload);
/* Cuts a data frame from the events. */
void ts_cut(struct ts_session *s);
/* A frame of a kind with JSON. */
void ts_json(struct ts_session *s, uint8_t kind, const char *json);
/* A statement and its answer with `rows` rows of text in two data frames, with a command. */
void ts_talk(struct ts_session *s, const char *sql, unsigned rows);
/* Writes frames that are not yet in the part file to it. */
void ts_settle(struct ts_session *s);
/* Settles, adds index and trailer and the seal leaf; the next frame begins a new part. */
void ts_seal(struct ts_session *s);
/* Gap frame and leaf. */
void ts_gap(struct ts_session *s);
/* The last frame; with seal: then seals; the close leaf. */
void ts_close(struct ts_session *s, bool seal);

/* The store of the tamper matrix: two boots, an acts session, one of two sealed parts, one with a gap,
 * one that is open and partly only in the journal, a segment used twice, all signed. */
void ts_standard(const char *dir);
/* More than 256 leaves, so that full tiles and bundles and a second row exist. */
void ts_long_log(const char *dir);

#endif
