/*
 * ca_test.c: the private authority's keys are made once, and never again because one cannot be read.
 */
#include "keeper/ca.h"

#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/test.h"
#include "config/config.h"

static const char *const no_names[] = { NULL };

struct dirs {
	char dir[32];
	char *keeper, *ca_key, *leaf_key, *root;
};

static void dirs_make(struct dirs *p) {
	(void)snprintf(p->dir, sizeof(p->dir), "/tmp/hansard-ca-XXXXXX");
	if (mkdtemp(p->dir) == NULL)
		abort();
	p->keeper = xasprintf("%s/keeper", p->dir);
	p->ca_key = xasprintf("%s/ca.key", p->keeper);
	p->leaf_key = xasprintf("%s/leaf.key", p->keeper);
	p->root = xasprintf("%s/ca.pem", p->dir);
	if (mkdir(p->keeper, 0700) != 0)
		abort();
}

static void dirs_free(struct dirs *p) {
	auto_free char *clean = xasprintf("rm -r %s", p->dir);

	CHECK_EQ_I(system(clean), 0);
	free(p->keeper);
	free(p->ca_key);
	free(p->leaf_key);
	free(p->root);
}

static char *content(const char *path) {
	struct err e = { 0 };

	return config_file_read(path, MIB, NULL, &e);
}

/* More than a key may be: it is there, and cannot be read. */
static void make_unreadable(const char *path) {
	char *text = xmalloc(CONFIG_PEM_MAX + 1);
	struct err e = { 0 };

	memset(text, 'x', CONFIG_PEM_MAX + 1);
	CHECK_EQ_I(file_write(path, str_mem(text, CONFIG_PEM_MAX + 1), 0600, &e), 0);
	free(text);
}

static bool is_same_file(const char *path, const char *before) {
	auto_free char *now = content(path);

	return now != NULL && before != NULL && strcmp(now, before) == 0;
}

TEST(ca_keys_are_made_once) {
	struct ca_leaf leaf;
	struct err e = { 0 };
	struct dirs p;

	dirs_make(&p);
	REQUIRE(ca_leaf_get(&leaf, p.dir, no_names, &e) == 0);
	CHECK(leaf.is_new_root);
	ca_leaf_fini(&leaf);
	auto_free char *ca_key = content(p.ca_key), *root = content(p.root);

	REQUIRE(ca_leaf_get(&leaf, p.dir, no_names, &e) == 0);
	CHECK(!leaf.is_new_root);
	ca_leaf_fini(&leaf);
	CHECK(is_same_file(p.ca_key, ca_key) && is_same_file(p.root, root));
	dirs_free(&p);
}

/* Neither the root's key nor the leaf's is replaced, and it is said which one cannot be read. */
TEST(ca_key_that_cannot_be_read_is_kept) {
	struct ca_leaf leaf;
	struct err e = { 0 };
	struct dirs p;

	dirs_make(&p);
	REQUIRE(ca_leaf_get(&leaf, p.dir, no_names, &e) == 0);
	ca_leaf_fini(&leaf);
	auto_free char *root = content(p.root), *good = content(p.ca_key);

	make_unreadable(p.ca_key);
	auto_free char *bad = content(p.ca_key);

	CHECK_EQ_I(ca_leaf_get(&leaf, p.dir, no_names, &e), H_ELIMIT);
	CHECK(strstr(e.text, "ca.key") != NULL && strstr(e.text, "not replaced") != NULL);
	CHECK(is_same_file(p.ca_key, bad) && is_same_file(p.root, root));

	e = (struct err){ 0 };
	CHECK_EQ_I(file_write(p.ca_key, str_of(good), 0600, &e), 0);
	make_unreadable(p.leaf_key);
	CHECK_EQ_I(ca_leaf_get(&leaf, p.dir, no_names, &e), H_ELIMIT);
	CHECK(strstr(e.text, "leaf.key") != NULL);
	CHECK(is_same_file(p.leaf_key, bad));
	dirs_free(&p);
}

TEST_MAIN
