/*
 * address.c: the text forms of addresses: "host:port", "[v6]:port", "unix:/path".
 *
 * A v6 address without brackets is refused rather than guessed at. Host names are checked by
 * characters only; whether they resolve is egress's business, later and each time.
 */
#include <arpa/inet.h>
#include <sys/un.h>

#include "config/config.h"

enum { HOST_MAX = 253 };

static bool host_char_ok(char c) {
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       c == '-' || c == '.' || c == '_';
}

static bool is_host(struct str host) {
	if (host.n == 0 || host.n > HOST_MAX || host.p[0] == '-' || host.p[0] == '.')
		return false;
	for (size_t i = 0; i < host.n; i++) {
		if (!host_char_ok(host.p[i]))
			return false;
	}
	return true;
}

/* A scope ("fe80::1%eth0") may follow the address. */
static int v6_parse(struct config_address *a, struct str host) {
	char text[INET6_ADDRSTRLEN];
	struct in6_addr bin;
	struct str scope = host;
	struct str bare = str_cut(&scope, '%');

	if (!str_copy(text, sizeof(text), bare) || inet_pton(AF_INET6, text, &bin) != 1)
		return H_EFORMAT;
	if (bare.n != host.n && !is_host(scope))
		return H_EFORMAT;
	a->is_loopback = IN6_IS_ADDR_LOOPBACK(&bin);
	return 0;
}

static bool v4_is_loopback(struct str host) {
	char text[INET_ADDRSTRLEN];
	struct in_addr bin;

	if (!str_copy(text, sizeof(text), host) || inet_pton(AF_INET, text, &bin) != 1)
		return false;
	return ntohl(bin.s_addr) >> 24 == 127;
}

static int unix_parse(struct config_address *a, struct str path, const char **ret_why) {
	const struct sockaddr_un *un = NULL;

	a->kind = ADDRESS_UNIX;
	a->path = path;
	a->is_loopback = true;
	if (path.n == 0 || path.p[0] != '/' || path.n >= sizeof(un->sun_path)) {
		*ret_why = "unix: needs an absolute path of at most 107 bytes";
		return H_EFORMAT;
	}
	return 0;
}

static int port_parse(struct config_address *a, struct str text) {
	uint64_t port;

	if (str_u64(text, UINT16_MAX, &port) < 0 || port == 0)
		return H_EFORMAT;
	a->port = (uint16_t)port;
	return 0;
}

int config_address_parse(struct config_address *a, struct str text, const char **ret_why) {
	*a = (struct config_address){ .kind = ADDRESS_TCP };
	if (str_starts(text, STR("unix:")))
		return unix_parse(a, str_from(text, 5), ret_why);
	bool is_v6 = text.n != 0 && text.p[0] == '[';
	size_t end = is_v6 ? str_find(text, ']') : str_find(text, ':');

	*ret_why = "must be host:port, \"[v6]:port\" or unix:/path";
	a->host = is_v6 && end < text.n ? str_mem(text.p + 1, end - 1) : str_head(text, end);
	struct str rest = str_from(text, is_v6 ? end + 1 : end);

	if (rest.n == 0 || rest.p[0] != ':')
		return H_EFORMAT;
	if (is_v6 ? v6_parse(a, a->host) < 0 : !is_host(a->host))
		return H_EFORMAT;
	if (port_parse(a, str_from(rest, 1)) < 0) {
		*ret_why = "the port must be a number from 1 to 65535";
		return H_EFORMAT;
	}
	if (!is_v6)
		a->is_loopback = v4_is_loopback(a->host) ||
		                 str_eq_nocase(a->host, STR("localhost"));
	return 0;
}
