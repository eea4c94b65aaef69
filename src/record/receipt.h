/*
 * receipt.h: what a client holds of the record (docs/receipts.md).
 *
 *   hsr1:<session id>:<frame number>:<leaf hash, hex>:<log size>
 */
#ifndef RECORD_RECEIPT_H
#define RECORD_RECEIPT_H

#include "base/crypto.h"
#include "base/err.h"
#include "base/str.h"

enum { RECEIPT_TEXT_SIZE = 160 };

struct receipt {
	uint8_t sid[SID_SIZE];
	uint64_t frame;
	uint8_t leaf[SHA256_SIZE]; /* of that frame in the session's tree */
	uint64_t log_size;         /* leaves that were durable when the frame became so */
};

void receipt_text(char out[RECEIPT_TEXT_SIZE], const struct receipt *r);
/* H_EFORMAT for anything that receipt_text() does not write. */
int receipt_parse(struct receipt *out, struct str text) must_use;

#endif
