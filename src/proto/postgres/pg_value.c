/*
 * pg_value.c: one value as text. Text-format values stand as they are; binary ones are decoded for the
 * types that drivers send in binary, after PostgreSQL's own output functions (ISO dates, hex bytea).
 * What is not understood is shown in hexadecimal: bytes are never guessed.
 *
 * The text is what the server itself would have written with DateStyle ISO, IntervalStyle postgres and time
 * zone UTC, so that a value exported from a binary parameter can be given back as a literal.
 * Depth is bounded by construction: an array holds ranges or scalars, a range scalars; nothing recurses.
 *
 * Wire: PostgreSQL 15 manual, "Data Types", and the layouts in src/backend/utils/adt (send functions).
 */
#include "proto/postgres/pg_view.h"

#include <arpa/inet.h>
#include <sys/socket.h>

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
	OID_XID = 28,
	OID_JSON = 114,
	OID_XML = 142,
	OID_CIDR = 650,
	OID_FLOAT4 = 700,
	OID_FLOAT8 = 701,
	OID_UNKNOWN = 705,
	OID_MACADDR8 = 774,
	OID_MACADDR = 829,
	OID_INET = 869,
	OID_BPCHAR = 1042,
	OID_VARCHAR = 1043,
	OID_DATE = 1082,
	OID_TIME = 1083,
	OID_TIMESTAMP = 1114,
	OID_TIMESTAMPTZ = 1184,
	OID_INTERVAL = 1186,
	OID_TIMETZ = 1266,
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

/* "-1.5e+20" taken apart and put together as PostgreSQL does: plain from 1e-4 up to the type's precision. */
static void put_digits(struct buf *out, const char *text, int plain_below) {
	char digits[24] = "0";
	size_t n = 0;
	const char *p = text;
	if (*p == '-')
		w_u8(out, (uint8_t)*p++);
	for (; *p != 'e' && *p != '\0'; p++)
		if (*p != '.' && n < sizeof(digits))
			digits[n++] = *p;
	int exponent = *p == 'e' ? (int)strtol(p + 1, NULL, 10) : 0;
	while (n > 1 && digits[n - 1] == '0')
		n--;
	if (exponent < -4 || exponent >= plain_below) {
		w_u8(out, (uint8_t)digits[0]);
		if (n > 1)
			w_u8(out, '.');
		w_bytes(out, str_mem(digits + 1, n - 1));
		w_fmt(out, "e%c%02d", exponent < 0 ? '-' : '+', abs(exponent));
		return;
	}
	if (exponent < 0)
		w_bytes(out, str_mem("0.000", (size_t)(1 - exponent)));
	for (size_t i = 0; i < n || (int)i <= exponent; i++) {
		w_u8(out, i < n ? (uint8_t)digits[i] : '0');
		if ((int)i == exponent && i + 1 < n)
			w_u8(out, '.');
	}
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
	for (int digits = 0; digits <= 16; digits++) {
		(void)snprintf(text, sizeof(text), "%.*e", digits, v);
		if (is_single ? strtof(text, NULL) == (float)v : strtod(text, NULL) == v)
			break;
	}
	put_digits(out, text, is_single ? 6 : 15);
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

/* " +3 days": a sign is only written where the part before it was negative. */
static void put_unit(struct buf *out, int32_t n, const char *unit, bool *is_first, bool *is_minus) {
	if (n == 0)
		return;
	w_fmt(out, "%s%s%d %s%s", *is_first ? "" : " ", *is_minus && n > 0 ? "+" : "", n, unit,
	      n == 1 ? "" : "s");
	*is_first = false;
	*is_minus = n < 0;
}

static bool put_interval(struct buf *out, struct rd *r) {
	int64_t us = (int64_t)rd_be64(r);
	int32_t days = (int32_t)rd_be32(r);
	int32_t months = (int32_t)rd_be32(r);
	bool is_first = true;
	bool is_minus = false;
	if ((us == INT64_MAX && days == INT32_MAX && months == INT32_MAX) ||
	    (us == INT64_MIN && days == INT32_MIN && months == INT32_MIN)) {
		w_bytes(out, us > 0 ? STR("infinity") : STR("-infinity"));
		return true;
	}
	if (us == INT64_MIN)
		return false;
	put_unit(out, months / 12, "year", &is_first, &is_minus);
	put_unit(out, months % 12, "mon", &is_first, &is_minus);
	put_unit(out, days, "day", &is_first, &is_minus);
	if (us == 0 && !is_first)
		return true;
	w_fmt(out, "%s%s", is_first ? "" : " ", us < 0 ? "-" : is_minus ? "+" : "");
	put_clock(out, us < 0 ? -us : us);
	return true;
}

/* The zone is in seconds west of Greenwich. */
static bool put_timetz(struct buf *out, struct rd *r) {
	bool is_ok = put_time(out, r);
	int32_t west = (int32_t)rd_be32(r);
	if (!is_ok || west <= -86400 || west >= 86400)
		return false;
	int east = abs(west);
	w_fmt(out, "%c%02d", west > 0 ? '-' : '+', east / 3600);
	if (east % 3600 != 0)
		w_fmt(out, ":%02d", east / 60 % 60);
	if (east % 60 != 0)
		w_fmt(out, ":%02d", east % 60);
	return true;
}

/* Family 2 or 3, bits of the mask, is it a cidr, length of the address, the address. */
static bool put_inet(struct buf *out, struct rd *r) {
	bool is_v4 = rd_u8(r) == 2;
	uint8_t bits = rd_u8(r);
	bool is_cidr = rd_u8(r) != 0;
	uint8_t len = rd_u8(r);
	struct str raw = rd_bytes(r, len);
	char text[INET6_ADDRSTRLEN];
	if (raw.n != (is_v4 ? 4 : 16) ||
	    inet_ntop(is_v4 ? AF_INET : AF_INET6, raw.p, text, sizeof(text)) == NULL)
		return false;
	w_bytes(out, str_of(text));
	if (is_cidr || bits != raw.n * 8)
		w_fmt(out, "/%u", bits);
	return true;
}

static bool put_macaddr(struct buf *out, struct rd *r) {
	size_t n = rd_left(r);
	for (size_t i = 0; i < n; i++)
		w_fmt(out, "%s%02x", i > 0 ? ":" : "", rd_u8(r));
	return n == 6 || n == 8;
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

enum type_form { FORM_SCALAR, FORM_RANGE, FORM_MULTIRANGE };

static const struct type_row {
	uint32_t oid, array;
	const char *name, *array_name;
	value_fn *fn; /* of a scalar, or of a range's bounds */
	enum type_form form;
} types[] = {
#define ROW(oid, array, name, fn) \
	{ oid, array, name, name "[]", fn, FORM_SCALAR }
#define RANGE(oid, array, name, fn) \
	{ oid, array, name, name "[]", fn, FORM_RANGE }
#define MULTIRANGE(oid, array, name, fn) \
	{ oid, array, name, name "[]", fn, FORM_MULTIRANGE }
	ROW(OID_BOOL, 1000, "bool", put_bool),
	ROW(OID_BYTEA, 1001, "bytea", put_hex),
	ROW(OID_CHAR, 1002, "char", put_text),
	ROW(OID_NAME, 1003, "name", put_text),
	ROW(OID_INT8, 1016, "int8", put_int8),
	ROW(OID_INT2, 1005, "int2", put_int2),
	ROW(OID_INT4, 1007, "int4", put_int4),
	ROW(OID_TEXT, 1009, "text", put_text),
	ROW(OID_OID, 1028, "oid", put_oid),
	ROW(OID_XID, 1011, "xid", put_oid),
	ROW(OID_JSON, 199, "json", put_text),
	ROW(OID_XML, 143, "xml", put_text),
	ROW(OID_CIDR, 651, "cidr", put_inet),
	ROW(OID_FLOAT4, 1021, "float4", put_float4),
	ROW(OID_FLOAT8, 1022, "float8", put_float8),
	ROW(OID_UNKNOWN, 0, "unknown", put_text),
	ROW(OID_MACADDR8, 775, "macaddr8", put_macaddr),
	ROW(OID_MACADDR, 1040, "macaddr", put_macaddr),
	ROW(OID_INET, 1041, "inet", put_inet),
	ROW(OID_BPCHAR, 1014, "bpchar", put_text),
	ROW(OID_VARCHAR, 1015, "varchar", put_text),
	ROW(OID_DATE, 1182, "date", put_date),
	ROW(OID_TIME, 1183, "time", put_time),
	ROW(OID_TIMESTAMP, 1115, "timestamp", put_timestamp),
	ROW(OID_TIMESTAMPTZ, 1185, "timestamptz", put_timestamptz),
	ROW(OID_INTERVAL, 1187, "interval", put_interval),
	ROW(OID_TIMETZ, 1270, "timetz", put_timetz),
	ROW(OID_NUMERIC, 1231, "numeric", put_numeric),
	ROW(OID_UUID, 2951, "uuid", put_uuid),
	ROW(OID_JSONB, 3807, "jsonb", put_jsonb),
	RANGE(3904, 3905, "int4range", put_int4),
	RANGE(3906, 3907, "numrange", put_numeric),
	RANGE(3908, 3909, "tsrange", put_timestamp),
	RANGE(3910, 3911, "tstzrange", put_timestamptz),
	RANGE(3912, 3913, "daterange", put_date),
	RANGE(3926, 3927, "int8range", put_int8),
	MULTIRANGE(4451, 6150, "int4multirange", put_int4),
	MULTIRANGE(4532, 6151, "nummultirange", put_numeric),
	MULTIRANGE(4533, 6152, "tsmultirange", put_timestamp),
	MULTIRANGE(4534, 6153, "tstzmultirange", put_timestamptz),
	MULTIRANGE(4535, 6155, "datemultirange", put_date),
	MULTIRANGE(4536, 6157, "int8multirange", put_int8),
};

static const struct type_row *type_find(uint32_t oid) {
	for (size_t i = 0; i < ARRAY_LEN(types); i++)
		if (types[i].oid == oid)
			return &types[i];
	return NULL;
}

/* The row of its elements, for the oid of an array type. */
static const struct type_row *element_find(uint32_t oid) {
	for (size_t i = 0; oid != 0 && i < ARRAY_LEN(types); i++)
		if (types[i].array == oid)
			return &types[i];
	return NULL;
}

const char *pg_type_name(uint32_t type_oid) {
	const struct type_row *row = type_find(type_oid);
	const struct type_row *element = element_find(type_oid);
	return row != NULL ? row->name : element != NULL ? element->array_name : NULL;
}

static bool put_scalar(struct buf *out, const struct type_row *row, struct str value) {
	struct rd r = rd_of(value);
	return row->fn(out, &r) && rd_done(&r) == 0 && !out->bad;
}

/* ---- ranges ---- */

enum {
	RANGE_EMPTY = 1,
	RANGE_LOWER_IN = 2,
	RANGE_UPPER_IN = 4,
	RANGE_NO_LOWER = 8,
	RANGE_NO_UPPER = 16
};

/* Int32 length and bytes of a part; *ret is what they spell. */
static bool take_part(struct rd *r, struct str *ret) {
	int32_t len = (int32_t)rd_be32(r);
	if (len < 0)
		return false;
	*ret = rd_bytes(r, (size_t)len);
	return !r->bad;
}

/* A bound stands in quotes where it holds what ranges are written with; dates and times do, by their space. */
static bool put_bound(struct buf *out, const struct type_row *row, struct rd *r) {
	struct buf text;
	struct str raw;
	if (!take_part(r, &raw))
		return false;
	buf_init(&text, MIB);
	bool is_ok = put_scalar(&text, row, raw);
	struct str s = buf_peek(&text);
	bool is_quoted = memchr(s.n > 0 ? s.p : "", ' ', s.n) != NULL;
	if (is_quoted)
		w_u8(out, '"');
	w_bytes(out, s);
	if (is_quoted)
		w_u8(out, '"');
	buf_fini(&text);
	return is_ok;
}

static bool put_range(struct buf *out, const struct type_row *row, struct str value) {
	struct rd r = rd_of(value);
	uint8_t flags = rd_u8(&r);
	if ((flags & RANGE_EMPTY) != 0) {
		w_bytes(out, STR("empty"));
		return rd_done(&r) == 0;
	}
	w_u8(out, (flags & RANGE_LOWER_IN) != 0 ? '[' : '(');
	if ((flags & RANGE_NO_LOWER) == 0 && !put_bound(out, row, &r))
		return false;
	w_u8(out, ',');
	if ((flags & RANGE_NO_UPPER) == 0 && !put_bound(out, row, &r))
		return false;
	w_u8(out, (flags & RANGE_UPPER_IN) != 0 ? ']' : ')');
	return rd_done(&r) == 0;
}

static bool put_multirange(struct buf *out, const struct type_row *row, struct str value) {
	struct rd r = rd_of(value);
	uint32_t count = rd_be32(&r);
	struct str one;
	w_u8(out, '{');
	for (uint32_t i = 0; i < count; i++) {
		if (i > 0)
			w_u8(out, ',');
		if (!take_part(&r, &one) || !put_range(out, row, one))
			return false;
	}
	w_u8(out, '}');
	return rd_done(&r) == 0;
}

/* A value that is no array. */
static bool put_single(struct buf *out, const struct type_row *row, struct str value) {
	switch (row->form) {
	case FORM_SCALAR:
		return put_scalar(out, row, value);
	case FORM_RANGE:
		return put_range(out, row, value);
	case FORM_MULTIRANGE:
		return put_multirange(out, row, value);
	}
	return false;
}

/* ---- arrays ---- */

enum { DIMENSIONS_MAX = 6 }; /* MAXDIM of the server */

struct dimensions {
	uint32_t count;
	uint32_t size[DIMENSIONS_MAX];
	int32_t lower[DIMENSIONS_MAX];
	uint64_t items;
};

/* What an element must not hold bare: it would end the element, or read as NULL. */
static bool needs_quotes(struct str s) {
	if (s.n == 0 || (s.n == 4 && strncasecmp(s.p, "NULL", 4) == 0))
		return true;
	for (size_t i = 0; i < s.n; i++)
		if (memchr("\"\\{}, \t\n\r\v\f", s.p[i], 11) != NULL)
			return true;
	return false;
}

static void put_element(struct buf *out, struct str s) {
	if (!needs_quotes(s)) {
		w_bytes(out, s);
		return;
	}
	w_u8(out, '"');
	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] == '"' || s.p[i] == '\\')
			w_u8(out, '\\');
		w_u8(out, (uint8_t)s.p[i]);
	}
	w_u8(out, '"');
}

/* Int32 dimensions, has-NULL flag, element type; for each dimension its size and lower bound. */
static bool take_dimensions(struct dimensions *d, const struct type_row *row, struct rd *r) {
	d->count = rd_be32(r);
	rd_skip(r, 4);
	uint32_t element = rd_be32(r);
	if (r->bad || d->count > DIMENSIONS_MAX || element != row->oid)
		return false;
	d->items = d->count > 0;
	for (uint32_t i = 0; i < d->count; i++) {
		d->size[i] = rd_be32(r);
		d->lower[i] = (int32_t)rd_be32(r);
		d->items *= d->size[i];
		/* every item takes four bytes at least */
		if (r->bad || d->size[i] == 0 || d->items > rd_left(r) / 4)
			return false;
	}
	return true;
}

/* "[0:2]=" where an index does not begin at 1. */
static void put_lower(struct buf *out, const struct dimensions *d) {
	bool is_odd = false;
	for (uint32_t i = 0; i < d->count; i++)
		is_odd = is_odd || d->lower[i] != 1;
	for (uint32_t i = 0; is_odd && i < d->count; i++)
		w_fmt(out, "[%d:%lld]", d->lower[i],
		      (long long)d->lower[i] + (long long)d->size[i] - 1);
	if (is_odd)
		w_u8(out, '=');
}

/* Before item n as many braces open as dimensions begin there; behind it as many close as end. */
static void put_braces(struct buf *out, const struct dimensions *d, uint64_t n, char brace) {
	uint64_t step = 1;
	for (uint32_t i = d->count; i > 0; i--) {
		step *= d->size[i - 1];
		if (n % step == 0)
			w_u8(out, (uint8_t)brace);
	}
}

static bool put_item(struct buf *out, const struct type_row *row, struct rd *r, struct buf *item) {
	int32_t len = (int32_t)rd_be32(r);
	if (len < 0) {
		w_bytes(out, STR("NULL"));
		return !r->bad;
	}
	struct str raw = rd_bytes(r, (size_t)len);
	buf_clear(item);
	if (r->bad || !put_single(item, row, raw) || item->bad)
		return false;
	put_element(out, buf_peek(item));
	return true;
}

/* {1,2,NULL}, {{a,b},{c,d}} */
static bool put_array(struct buf *out, const struct type_row *row, struct str value) {
	struct rd r = rd_of(value);
	struct dimensions d;
	struct buf item;
	if (!take_dimensions(&d, row, &r))
		return false;
	if (d.count == 0)
		w_bytes(out, STR("{}"));
	put_lower(out, &d);
	buf_init(&item, out->max);
	bool is_ok = true;
	for (uint64_t i = 0; is_ok && i < d.items; i++) {
		if (i > 0)
			w_u8(out, ',');
		put_braces(out, &d, i, '{');
		is_ok = put_item(out, row, &r, &item);
		put_braces(out, &d, i + 1, '}');
	}
	buf_fini(&item);
	return is_ok && rd_done(&r) == 0;
}

bool pg_value_text(struct buf *out, uint32_t type_oid, uint16_t format, struct str value) {
	if (format == 0) {
		w_bytes(out, value);
		return true;
	}
	size_t before = out->len;
	const struct type_row *row = type_find(type_oid);
	const struct type_row *element = element_find(type_oid);
	if (format == 1 && row != NULL && put_single(out, row, value) && !out->bad)
		return true;
	if (format == 1 && row == NULL && element != NULL && put_array(out, element, value) &&
	    !out->bad)
		return true;
	if (!out->bad)
		out->len = before;
	struct rd r = rd_of(value);
	(void)put_hex(out, &r);
	return false;
}
