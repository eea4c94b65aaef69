/*
 * pg_value.c: one value as text. Text-format values stand as they are; binary ones are decoded for the
 * types that drivers send in binary, after PostgreSQL's own output functions (ISO dates, hex bytea).
 * What is not understood is shown in hexadecimal: bytes are never guessed.
 *
 * Wire: PostgreSQL 15 manual, "Data Types", and the layouts in src/backend/utils/adt (send functions).
 */
#include "proto/postgres/pg_view.h"

enum {
	OID_BOOL = 16,
	OID_BYTEA = 17,
	OID_CHAR = 18,
	OID_NAME = 19,
	OID_INT8 = 20,
	OID_INT2 = 21,
	OID_INT4 = 23,
	OID_TEXT = 25,
	OID_OID = 26,
	OID_JSON = 114,
	OID_XML = 142,
	OID_FLOAT4 = 700,
	OID_FLOAT8 = 701,
	OID_UNKNOWN = 705,
	OID_BPCHAR = 1042,
	OID_VARCHAR = 1043,
	OID_DATE = 1082,
	OID_TIME = 1083,
	OID_TIMESTAMP = 1114,
	OID_TIMESTAMPTZ = 1184,
	OID_INTERVAL = 1186,
	OID_NUMERIC = 1700,
	OID_UUID = 2950,
	OID_JSONB = 3802,
};

typedef bool value_fn(struct buf *out, struct rd *r);

#define USEC_PER_DAY ((int64_t)86400 * 1000000)
#define EPOCH_DAYS 10957 /* 1970-01-01 to 2000-01-01 */

static bool put_bool(struct buf *out, struct rd *r) {
	uint8_t v = rd_u8(r);
	w_u8(out, v != 0 ? 't' : 'f');
	return v <= 1;
}

static bool put_text(struct buf *out, struct rd *r) {
	w_bytes(out, rd_bytes(r, rd_left(r)));
	return true;
}

static bool put_int2(struct buf *out, struct rd *r) {
	w_fmt(out, "%d", (int16_t)rd_be16(r));
	return true;
}

static bool put_int4(struct buf *out, struct rd *r) {
	w_fmt(out, "%d", (int32_t)rd_be32(r));
	return true;
}

static bool put_oid(struct buf *out, struct rd *r) {
	w_fmt(out, "%u", rd_be32(r));
	return true;
}

static bool put_int8(struct buf *out, struct rd *r) {
	w_fmt(out, "%lld", (long long)rd_be64(r));
	return true;
}

/* Shortest text that reads back as the same number. */
static void put_shortest(struct buf *out, double v, bool is_single) {
	if (v != v) {
		w_bytes(out, STR("NaN"));
		return;
	}
	if (v > 1.7976931348623157e308 || v < -1.7976931348623157e308) {
		w_bytes(out, v > 0 ? STR("Infinity") : STR("-Infinity"));
		return;
	}
	char text[40];
	for (int digits = is_single ? 6 : 15; digits <= 17; digits++) {
		(void)snprintf(text, sizeof(text), "%.*g", digits, v);
		double back = strtod(text, NULL);
		if (is_single ? (float)back == (float)v : back == v)
			break;
	}
	w_bytes(out, str_of(text));
}

static bool put_float4(struct buf *out, struct rd *r) {
	uint32_t bits = rd_be32(r);
	float v = 0;
	memcpy(&v, &bits, sizeof(v));
	put_shortest(out, (double)v, true);
	return true;
}

static bool put_float8(struct buf *out, struct rd *r) {
	uint64_t bits = rd_be64(r);
	double v = 0;
	memcpy(&v, &bits, sizeof(v));
	put_shortest(out, v, false);
	return true;
}

static bool put_hex(struct buf *out, struct rd *r) {
	struct str s = rd_bytes(r, rd_left(r));
	w_bytes(out, STR("\\x"));
	for (size_t i = 0; i < s.n; i++)
		w_fmt(out, "%02x", (uint8_t)s.p[i]);
	return true;
}

static bool put_uuid(struct buf *out, struct rd *r) {
	struct str s = rd_bytes(r, 16);
	for (size_t i = 0; i < s.n; i++)
		w_fmt(out, "%s%02x", i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "",
		      (uint8_t)s.p[i]);
	return s.n == 16;
}

static bool put_jsonb(struct buf *out, struct rd *r) {
	if (rd_u8(r) != 1)
		return false;
	return put_text(out, r);
}

/* Days since 1970-01-01 to a proleptic Gregorian date (years before 1 are BC, as PostgreSQL says). */
static void put_days(struct buf *out, int64_t days, bool *ret_is_bc) {
	int64_t z = days + 719468;
	int64_t era = (z >= 0 ? z : z - 146096) / 146097;
	int64_t doe = z - era * 146097;
	int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
	int64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
	int64_t mp = (5 * doy + 2) / 153;
	int64_t day = doy - (153 * mp + 2) / 5 + 1;
	int64_t month = mp < 10 ? mp + 3 : mp - 9;
	int64_t year = yoe + era * 400 + (month <= 2);
	*ret_is_bc = year <= 0;
	w_fmt(out, "%04lld-%02lld-%02lld", (long long)(year <= 0 ? 1 - year : year),
	      (long long)month, (long long)day);
}

static void put_clock(struct buf *out, int64_t us) {
	int64_t s = us / 1000000;
	int frac = (int)(us % 1000000);
	w_fmt(out, "%02lld:%02lld:%02lld", (long long)(s / 3600), (long long)(s / 60 % 60),
	      (long long)(s % 60));
	if (frac == 0)
		return;
	int digits = 6;
	while (frac % 10 == 0) {
		frac /= 10;
		digits--;
	}
	w_fmt(out, ".%0*d", digits, frac);
}

static bool put_date(struct buf *out, struct rd *r) {
	int32_t days = (int32_t)rd_be32(r);
	if (days == INT32_MAX || days == INT32_MIN) {
		w_bytes(out, days > 0 ? STR("infinity") : STR("-infinity"));
		return true;
	}
	bool is_bc = false;
	put_days(out, (int64_t)days + EPOCH_DAYS, &is_bc);
	if (is_bc)
		w_bytes(out, STR(" BC"));
	return true;
}

static bool put_time(struct buf *out, struct rd *r) {
	int64_t us = (int64_t)rd_be64(r);
	if (us < 0 || us > USEC_PER_DAY)
		return false;
	put_clock(out, us);
	return true;
}

static bool put_moment(struct buf *out, struct rd *r, const char *zone) {
	int64_t us = (int64_t)rd_be64(r);
	if (us == INT64_MAX || us == INT64_MIN) {
		w_bytes(out, us > 0 ? STR("infinity") : STR("-infinity"));
		return true;
	}
	int64_t days = us / USEC_PER_DAY;
	int64_t rest = us % USEC_PER_DAY;
	if (rest < 0) {
		rest += USEC_PER_DAY;
		days--;
	}
	bool is_bc = false;
	put_days(out, days + EPOCH_DAYS, &is_bc);
	w_u8(out, ' ');
	put_clock(out, rest);
	w_bytes(out, str_of(zone));
	if (is_bc)
		w_bytes(out, STR(" BC"));
	return true;
}

static bool put_timestamp(struct buf *out, struct rd *r) {
	return put_moment(out, r, "");
}

static bool put_timestamptz(struct buf *out, struct rd *r) {
	return put_moment(out, r, "+00");
}

static bool put_interval(struct buf *out, struct rd *r) {
	int64_t us = (int64_t)rd_be64(r);
	int32_t days = (int32_t)rd_be32(r);
	int32_t months = (int32_t)rd_be32(r);
	w_fmt(out, "%d mons %d days ", months, days);
	if (us == INT64_MIN)
		return false;
	if (us < 0)
		w_u8(out, '-');
	put_clock(out, us < 0 ? -us : us);
	return true;
}

enum { NUMERIC_DIGITS_MAX = 40000 };

/* Groups of four decimal digits; weight is the exponent (base 10000) of the first. */
static bool put_numeric(struct buf *out, struct rd *r) {
	uint16_t count = rd_be16(r);
	int weight = (int16_t)rd_be16(r);
	uint16_t sign = rd_be16(r);
	int scale = rd_be16(r) & 0x3fff;
	if (sign == 0xc000 || sign == 0xd000 || sign == 0xf000) {
		w_bytes(out, sign == 0xc000   ? STR("NaN")
		             : sign == 0xd000 ? STR("Infinity")
		                              : STR("-Infinity"));
		return count == 0;
	}
	struct str digits = rd_bytes(r, (size_t)count * 2);
	if (digits.n != (size_t)count * 2 || (sign != 0 && sign != 0x4000) ||
	    weight > NUMERIC_DIGITS_MAX)
		return false;
	if (sign == 0x4000)
		w_u8(out, '-');
	if (weight < 0)
		w_u8(out, '0');
	for (int i = 0; i <= weight; i++) {
		size_t at = (size_t)i * 2;
		int group = i < count ? (uint8_t)digits.p[at] << 8 | (uint8_t)digits.p[at + 1] : 0;
		w_fmt(out, i == 0 ? "%d" : "%04d", group);
	}
	if (scale > 0)
		w_u8(out, '.');
	for (int done = 0, i = weight + 1; done < scale; done += 4, i++) {
		int group = 0;
		if (i >= 0 && i < count)
			group = (uint8_t)digits.p[(size_t)i * 2] << 8 |
			        (uint8_t)digits.p[(size_t)i * 2 + 1];
		char text[8];
		(void)snprintf(text, sizeof(text), "%04d", group % 10000);
		w_bytes(out, str_mem(text, (size_t)MIN(scale - done, 4)));
	}
	return true;
}

static const struct type_row {
	uint32_t oid, array;
	const char *name;
	value_fn *fn;
} types[] = {
	{ OID_BOOL, 1000, "bool", put_bool },
	{ OID_BYTEA, 1001, "bytea", put_hex },
	{ OID_CHAR, 1002, "char", put_text },
	{ OID_NAME, 1003, "name", put_text },
	{ OID_INT8, 1016, "int8", put_int8 },
	{ OID_INT2, 1005, "int2", put_int2 },
	{ OID_INT4, 1007, "int4", put_int4 },
	{ OID_TEXT, 1009, "text", put_text },
	{ OID_OID, 1028, "oid", put_oid },
	{ OID_JSON, 199, "json", put_text },
	{ OID_XML, 143, "xml", put_text },
	{ OID_FLOAT4, 1021, "float4", put_float4 },
	{ OID_FLOAT8, 1022, "float8", put_float8 },
	{ OID_UNKNOWN, 0, "unknown", put_text },
	{ OID_BPCHAR, 1014, "bpchar", put_text },
	{ OID_VARCHAR, 1015, "varchar", put_text },
	{ OID_DATE, 1182, "date", put_date },
	{ OID_TIME, 1183, "time", put_time },
	{ OID_TIMESTAMP, 1115, "timestamp", put_timestamp },
	{ OID_TIMESTAMPTZ, 1185, "timestamptz", put_timestamptz },
	{ OID_INTERVAL, 1187, "interval", put_interval },
	{ OID_NUMERIC, 1231, "numeric", put_numeric },
	{ OID_UUID, 2951, "uuid", put_uuid },
	{ OID_JSONB, 3807, "jsonb", put_jsonb },
};

static const struct type_row *type_find(uint32_t oid) {
	for (size_t i = 0; i < ARRAY_LEN(types); i++)
		if (types[i].oid == oid)
			return &types[i];
	return NULL;
}

const char *pg_type_name(uint32_t type_oid) {
	const struct type_row *row = type_find(type_oid);
	return row != NULL ? row->name : NULL;
}

/* Decodes one scalar; on failure the buffer is as it was. */
static bool put_scalar(struct buf *out, const struct type_row *row, struct str value) {
	size_t before = out->len;
	struct rd r = rd_of(value);
	if (row->fn(out, &r) && rd_done(&r) == 0 && !out->bad)
		return true;
	if (!out->bad)
		out->len = before;
	return false;
}

static void put_quoted(struct buf *out, struct str s) {
	w_u8(out, '"');
	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] == '"' || s.p[i] == '\\')
			w_u8(out, '\\');
		w_u8(out, (uint8_t)s.p[i]);
	}
	w_u8(out, '"');
}

/* One-dimensional arrays of the types above: {1,2,NULL}; text elements are quoted. */
static bool put_array(struct buf *out, const struct type_row *row, struct str value) {
	struct rd r = rd_of(value);
	uint32_t dims = rd_be32(&r);
	rd_skip(&r, 4);
	uint32_t element = rd_be32(&r);
	if (dims == 0 && rd_done(&r) == 0) {
		w_bytes(out, STR("{}"));
		return true;
	}
	uint32_t count = rd_be32(&r);
	rd_skip(&r, 4);
	if (r.bad || dims != 1 || element != row->oid || count > rd_left(&r) / 4)
		return false;
	w_u8(out, '{');
	for (uint32_t i = 0; i < count; i++) {
		int32_t len = (int32_t)rd_be32(&r);
		if (i > 0)
			w_u8(out, ',');
		if (len < 0) {
			w_bytes(out, STR("NULL"));
			continue;
		}
		struct str item = rd_bytes(&r, (size_t)len);
		if (r.bad)
			return false;
		if (row->fn == put_text)
			put_quoted(out, item);
		else if (!put_scalar(out, row, item))
			return false;
	}
	w_u8(out, '}');
	return rd_done(&r) == 0;
}

bool pg_value_text(struct buf *out, uint32_t type_oid, uint16_t format, struct str value) {
	if (format == 0) {
		w_bytes(out, value);
		return true;
	}
	size_t before = out->len;
	const struct type_row *row = type_find(type_oid);
	if (row != NULL && put_scalar(out, row, value))
		return true;
	for (size_t i = 0; row == NULL && i < ARRAY_LEN(types); i++) {
		if (types[i].array == 0 || types[i].array != type_oid)
			continue;
		if (put_array(out, &types[i], value) && !out->bad)
			return true;
		if (!out->bad)
			out->len = before;
		break;
	}
	struct rd r = rd_of(value);
	(void)put_hex(out, &r);
	return false;
}
