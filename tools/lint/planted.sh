#!/usr/bin/env bash
# tools/lint/planted.sh: proves that each gate bites. Prints TAP.
#
# For each gate a small tree with one fault is made and the gate must refuse it, for the reason that
# was planted; the same tree without faults must pass, so that a gate that refuses everything does
# not look like one that works. The same is done for the sanitizers, the fuzzer and the test runner.
set -uo pipefail
cd "$(dirname "$0")/../.."
here=$PWD
python=${PYTHON:-/usr/bin/python3}
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
number=0
echo "TAP version 13"

result() { # ok|not name output
	number=$((number + 1))
	if [ "$1" = ok ]; then
		echo "ok $number - $2"
	else
		echo "not ok $number - $2"
		tail -n 12 <<<"$3" | sed 's/^/#   /'
	fi
}

# A clean tree: our headers, one healthy file.
tree() {
	rm -rf "$dir/t"
	mkdir -p "$dir/t/src/base" "$dir/t/src/ipc" "$dir/t/src/session"
	cp "$here"/src/base/*.h "$dir/t/src/base/"
	cp "$here/.clang-format" "$here/.clang-tidy" "$dir/t/"
	printf '/* x.h: healthy. */\n#ifndef IPC_X_H\n#define IPC_X_H\n\n#include "base/str.h"\n\nint x(int a);\n\n#endif\n' >"$dir/t/src/ipc/x.h"
	printf '/* x.c: healthy. */\n#include "ipc/x.h"\n\n#include <errno.h>\n\n#include "base/err.h"\n\nint x(int a) {\n\treturn a + 1;\n}\n' >"$dir/t/src/ipc/x.c"
}

# The gate must fail and name the reason.
bites() { # name gate pattern
	local out
	out=$("$python" tools/lint/lint.py --root "$dir/t" --cache "$dir/cache" "$2" 2>&1)
	if [ $? = 1 ] && grep -Eq "^# .*$3" <<<"$out"; then
		result ok "$1"
	else
		result not "$1" "$out"
	fi
}

tree
for gate in includes size words mentions config format tidy analyzer; do
	if out=$("$python" tools/lint/lint.py --root "$dir/t" --cache "$dir/cache" "$gate" 2>&1); then
		result ok "$gate passes what is healthy"
	else
		result not "$gate passes what is healthy" "$out"
	fi
done

tree; sed -i 's|#include "base/err.h"|#include "session/y.h"|' "$dir/t/src/ipc/x.c"
bites "includes: a folder below" includes 'ipc may not include session'
tree; sed -i 's|#include "base/err.h"|#include "err.h"|' "$dir/t/src/ipc/x.c"
bites "includes: no folder named" includes 'must be named from src/'
tree; sed -i 's|#include <errno.h>|#include "base/err.h"\n#include <errno.h>|' "$dir/t/src/ipc/x.c"
bites "includes: a system header after ours" includes 'comes after headers of ours'
tree; sed -i 's|#include "base/err.h"|#include "base/crypto_priv.h"|' "$dir/t/src/ipc/x.c"
bites "includes: a private header" includes 'is private to base'

# 71 code lines; as many comments and blank lines must not count.
long() { # code lines in the body
	tree
	{
		printf '\nint y(int a) {\n'
		for _ in $(seq 80); do printf '\t/* a comment { */\n\n'; done
		for _ in $(seq "$1"); do printf '\ta += 1;\n'; done
		printf '\treturn a;\n}\n'
	} >>"$dir/t/src/ipc/x.c"
}
long 68
bites "size: a function of 71 code lines" size 'function of 71 code lines'
long 67
if out=$("$python" tools/lint/lint.py --root "$dir/t" --cache "$dir/cache" size 2>&1); then
	result ok "size: 70 code lines pass"
else
	result not "size: 70 code lines pass" "$out"
fi
tree; for _ in $(seq 1200); do echo '/* long */'; done >>"$dir/t/src/ipc/x.c"
bites "size: a file of over 1200 lines" size 'lines, at most 1200'

tree; echo '/* TO''DO: later */' >>"$dir/t/src/ipc/x.c"
bites "words: unfinished work" words 'unfinished work'
tree; echo 'see /wo''rk/main for more' >"$dir/t/notes.md"
bites "words: a path of one machine" words 'a path of one machine'
tree; echo 'FROM ghcr.''io/x' >"$dir/t/notes.md"
bites "words: a registry" words "a registry's name"
tree; printf '\nint z(void);\n\nint z(void) {\n\treturn ra''nd(3);\n}\n' >>"$dir/t/src/ipc/x.c"
bites "words: a predictable generator" words 'predictable'

tree; echo 'see src/ipc/gone.c' >"$dir/t/notes.md"
bites "mentions: a file that is not there" mentions 'src/ipc/gone.c is not there'
tree; echo 'see src/ipc/x.c:y' >"$dir/t/notes.md"
bites "mentions: a function that is not there" mentions 'src/ipc/x.c has no y'

tree; echo 'NoSuchKey: true' >>"$dir/t/.clang-tidy"
bites "config: an unknown key for clang-tidy" config 'unknown key|NoSuchKey|not those of the file'
tree; echo 'NoSuchKey: true' >>"$dir/t/.clang-format"
bites "config: an unknown key for clang-format" config 'unknown key|NoSuchKey|[Ee]rror'
tree; sed -i 's|\treturn a + 1;|    return a+1;|' "$dir/t/src/ipc/x.c"
bites "format: spaces for a tab" format 'clang-format'
tree; printf '\nint fact(int n);\n\nint fact(int n) {\n\treturn n < 2 ? 1 : n * fact(n - 1);\n}\n' >>"$dir/t/src/ipc/x.c"
bites "tidy: recursion" tidy 'misc-no-recursion'
tree; printf '\nint twice(char *p);\n\nint twice(char *p) {\n\tint n = p[0];\n\n\tfree(p);\n\treturn n + p[1];\n}\n' >>"$dir/t/src/ipc/x.c"
bites "tidy: use after free" tidy 'clang-analyzer-unix.Malloc'
bites "analyzer: use after free" analyzer 'use-after-free'

# The cache must not remember what was not checked: a header changes under a file that passed.
tree
"$python" tools/lint/lint.py --root "$dir/t" --cache "$dir/cache" tidy >/dev/null 2>&1
sed -i 's|int x(int a);|int x(int b);|' "$dir/t/src/ipc/x.h"
bites "cache: a changed header is looked at again" tidy 'inconsistent-declaration'

# ---- sanitizers, fuzzer, test runner ----

# Compiles $dir/f.c with the arguments; it must run into the pattern.
caught() { # name pattern command...
	local out name=$1 pattern=$2
	shift 2
	if ! out=$("$@" -std=gnu17 -D_GNU_SOURCE -Isrc -g -o "$dir/f" "$dir/f.c" src/base/san.c 2>&1); then
		result not "$name" "$out"
		return
	fi
	out=$(cd "$dir" && timeout 60 ${runner:-} ./f ${arguments:-} 2>&1)
	if [ $? != 0 ] && grep -q "$pattern" <<<"$out"; then
		result ok "$name"
	else
		result not "$name" "$out"
	fi
}

runner= arguments=
[ "$(cat /proc/sys/vm/mmap_rnd_bits 2>/dev/null || echo 28)" -le 28 ] || { setarch -R true 2>/dev/null && runner="setarch -R"; }

cat >"$dir/f.c" <<'C'
#include <stdlib.h>
int main(int argc, char **argv) {
	char *p = malloc((size_t)argc);
	(void)argv;
	p[argc] = 1;
	return p[argc];
}
C
caught "asan: a heap overflow" heap-buffer-overflow clang-14 -fsanitize=address
cat >"$dir/f.c" <<'C'
int main(int argc, char **argv) {
	(void)argv;
	return (0x7fffffff - 1 + argc + argc) == 3;
}
C
caught "ubsan: a signed overflow" 'signed integer overflow' clang-14 -fsanitize=undefined -fno-sanitize-recover=undefined
cat >"$dir/f.c" <<'C'
#include <stdlib.h>
#include <stdint.h>
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
	char *p = malloc(n + 1);
	p[0] = n != 0 ? (char)data[0] : 0;
	if (p[0] != 'x')
		free(p);
	return 0;
}
C
arguments="-max_total_time=20 -only_ascii=1 -max_len=4"
caught "fuzz: a leak" 'detected memory leaks' clang-14 -fsanitize=fuzzer,address
arguments=
cat >"$dir/f.c" <<'C'
#include <pthread.h>
static int shared;
static void *add(void *arg) {
	(void)arg;
	for (int i = 0; i < 100000; i++)
		shared++;
	return NULL;
}
int main(void) {
	pthread_t a, b;
	pthread_create(&a, NULL, add, NULL);
	pthread_create(&b, NULL, add, NULL);
	pthread_join(a, NULL);
	pthread_join(b, NULL);
	return 0;
}
C
if [ -n "$runner" ] || [ "$(cat /proc/sys/vm/mmap_rnd_bits 2>/dev/null || echo 28)" -le 28 ]; then
	caught "tsan: a race" 'data race' gcc -fsanitize=thread -pthread
else
	number=$((number + 1))
	echo "ok $number - tsan: a race # SKIP vm.mmap_rnd_bits is over 28"
fi
cat >"$dir/f.c" <<'C'
#include "base/test.h"
TEST(checks_nothing) {
}
TEST_MAIN
C
caught "test runner: a test that checks nothing" 'not ok 1 - checks_nothing' gcc src/base/test.c src/base/str.c src/base/alloc.c
cat >"$dir/f.c" <<'C'
#include "base/test.h"
TEST(fails) {
	CHECK(1 == 2);
}
TEST_MAIN
C
caught "test runner: a failed check" 'not ok 1 - fails' gcc src/base/test.c src/base/str.c src/base/alloc.c

# The sum: a failure, a plan that was not kept, a program that died.
sums() { # name kind want
	local out
	out=$("$python" tools/check_sum.py "$2" "$dir/log")
	out=${out%%$'\n'*}
	if [ "$out" = "$3" ]; then result ok "$1"; else result not "$1" "$out"; fi
}
printf 'TAP version 13\nok 1 - a\nnot ok 2 - b\nok 3 - c # SKIP why\n1..3\n' >"$dir/log"
sums "sum: counts each kind" tap "1 1 1"
printf 'ok 1 - a\n1..2\n' >"$dir/log"
sums "sum: a stream that ends early fails" tap "1 1 0"
printf '{"name": "p / x", "result": "ERROR", "returncode": -6, "stdout": "ok 1 - a\\n1..1\\n"}\n' >"$dir/log"
sums "sum: a test program that died fails" meson "1 1 0"
: >"$dir/log"
sums "sum: an empty log fails" meson "0 1 0"

echo "1..$number"
