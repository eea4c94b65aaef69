/*
 * receipt.c: receipts as text. The form is canonical: what parses is what receipt_text() writes, so that
 * two receipts are the same exactly when their texts are.
 */
#include "record/receipt.h"

void receipt_text(char out[RECEIPT_TEXT_SIZE], const struct receipt *r) {
	char sid[UUID_TEXT_SIZE], leaf[2 * SHA256_SIZE + 1];

	uuid_text(sid, r->sid);
	hex_encode(leaf, r->leaf, sizeof(r->leaf));
	(void)snprintf(out, RECEIPT_TEXT_SIZE, "hsr1:%s:%llu:%s:%llu", sid,
	               (unsigned long long)r->frame, leaf, (unsigned long long)r->log_size);
}

int receipt_parse(struct receipt *out, struct str text) {
	char again[RECEIPT_TEXT_SIZE];
	struct str rest = text;

	*out = (struct receipt){ 0 };
	if (!str_is(str_cut(&rest, ':'), "hsr1") || uuid_parse(out->sid, str_cut(&rest, ':')) < 0 ||
	    str_u64(str_cut(&rest, ':'), UINT64_MAX, &out->frame) < 0 ||
	    hex_decode(out->leaf, sizeof(out->leaf), str_cut(&rest, ':')) != SHA256_SIZE ||
	    str_u64(rest, UINT64_MAX, &out->log_size) < 0)
		return H_EFORMAT;
	receipt_text(again, out);
	return str_is(text, again) ? 0 : H_EFORMAT;
}
