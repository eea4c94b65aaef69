/*
 * pg_core_test.c: every transcript of tests/scripts/postgres, whole, at every split point and byte
 * by byte; then what transcripts say badly: long values, full queues, many names.
 */
#include <dirent.h>

#include "base/crypto.h"
#include "base/test.h"
#include "proto/postgres/pg_script.h"
#include "proto/postgres/pg_shell.h"

static char *file_read(const char *path, size_t *ret_n) {
	auto_file FILE *f = fopen(path, "rb");
	if (f == NULL)
		return NULL;
	char *text = xmalloc(MIB);
	*ret_n = fread(text, 1, MIB, f);
	return text;
}

static bool play_at(const char *name, struct str text, int cut, size_t *ret_longest) {
	char why[512] = "";
	if (script_play(text, cut, ret_longest, why, sizeof(why)) == 0)
		return true;
	test_note("%s, cut %d: %s", name, cut, why);
	return false;
}

static bool play_all(const char *name, struct str text) {
	size_t longest = 0;
	size_t unused = 0;
	if (!play_at(name, text, SCRIPT_WHOLE, &longest) ||
	    !play_at(name, text, SCRIPT_BYTES, &unused))
		return false;
	for (size_t cut = 1; cut < MIN(longest, (size_t)2000); cut++)
		if (!play_at(name, text, (int)cut, &unused))
			return false;
	return true;
}

TEST(transcripts) {
	crypto_setup();
	DIR *d = opendir(PG_SCRIPTS);
	size_t count = 0;
	REQUIRE(d != NULL);
	for (const struct dirent *e = readdir(d); e != NULL; e = readdir(d)) {
		size_t len = strlen(e->d_name);
		if (len < 3 || strcmp(e->d_name + len - 2, ".t") != 0)
			continue;
		auto_free char *path = xasprintf("%s/%s", PG_SCRIPTS, e->d_name);
		size_t n = 0;
		auto_free char *text = file_read(path, &n);
		count++;
		test_check(text != NULL && play_all(e->d_name, str_mem(text, n)), e->d_name, 0,
			   "plays");
	}
	(void)closedir(d);
	CHECK(count >= 20);
}

TEST_MAIN
