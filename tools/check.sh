#!/usr/bin/env bash
# tools/check.sh [STAGE...]: what `make check` runs. Without arguments all stages but clients.
#
# Each stage prints its time and its counts; its log is in build*/logs. The last line sums up all:
# "N passed, N failed, N skipped", and the exit status is 0 only without failures. HANSARD_LONG=1
# (make check-long) tells tests to run whole what they otherwise sample; HANSARD_SAMPLE=1, to sample
# even what is cheap without a sanitizer.
set -uo pipefail
cd "$(dirname "$0")/.."

# The same everywhere: no terminal, no one's PostgreSQL variables, gateway or language.
exec </dev/null
unset HANSARD_CONFIG "${!PG@}"
export LC_ALL=C.UTF-8 PYTHONDONTWRITEBYTECODE=1

python=${PYTHON:-/usr/bin/python3}
jobs=${JOBS:-$(nproc)}
fuzz_seconds=${FUZZ_SECONDS:-$([ -n "${HANSARD_LONG:-}" ] && echo 120 || echo 6)}
system_seconds=${SYSTEM_SECONDS:-$([ -n "${HANSARD_LONG:-}" ] && echo 14400 || echo 1200)}
passed=0 failed=0 skipped=0
began=$SECONDS
mkdir -p build/logs

# ---- counting ----

add() { # passed failed skipped
	passed=$((passed + $1))
	failed=$((failed + $2))
	skipped=$((skipped + $3))
}

stage_name= stage_began=0 stage_before=()
stage() {
	stage_name=$1 stage_began=$SECONDS stage_before=("$passed" "$failed" "$skipped")
	echo "== $stage_name: $2"
}
stage_end() {
	echo "   $stage_name: $((passed - stage_before[0])) passed, $((failed - stage_before[1])) failed," \
		"$((skipped - stage_before[2])) skipped, $((SECONDS - stage_began)) s"
}

# Counts a log by kind (tap, meson, pytest) and shows skips with their reasons, and failures.
count() {
	local sum
	sum=$("$python" tools/check_sum.py "$1" "$2")
	# shellcheck disable=SC2046
	add $(head -n 1 <<<"$sum")
	tail -n +2 <<<"$sum" | sed -n 's/^skip /   skipped: /p; s/^fail /   FAILED: /p'
}

# A step that is one check by itself: its output goes to a log, which is shown when it fails.
step() { # name log command...
	local name=$1 log=$2
	shift 2
	if "$@" >"$log" 2>&1; then
		add 1 0 0
		return 0
	fi
	add 0 1 0
	echo "   FAILED: $name ($log)"
	grep -E -m 20 -A 4 'error|FAILED:|Error' "$log" | grep -v '^\(cc\|gcc\|clang-14\) ' || tail -n 20 "$log"
	return 1
}

skip() { # what why
	add 0 0 1
	echo "   skipped: $1: $2"
}

# ---- builds ----

configure() { # directory compiler options...
	local dir=$1 compiler=$2
	shift 2
	mkdir -p "$dir/logs"
	[ -f "$dir/build.ninja" ] || CC=$compiler meson setup "$dir" "$@"
}

compile() { # directory compiler options...
	local dir=$1
	configure "$@" && ninja -j"$jobs" -C "$dir" all
}

# Sanitizers of this compiler place their shadow memory where newer kernels put programs at random.
no_aslr=()
aslr_allows() {
	local bits
	bits=$(cat /proc/sys/vm/mmap_rnd_bits 2>/dev/null || echo 28)
	[ "$bits" -le 28 ] && return 0
	setarch -R true 2>/dev/null && no_aslr=(setarch -R)
}

unit() { # directory factor [variables...]
	local variables=("${@:3}") factor=$2
	[ -z "${HANSARD_LONG:-}" ] || variables=() factor=$((factor * 60))
	env "${variables[@]}" "${no_aslr[@]}" \
		meson test -C "$1" --no-rebuild --num-processes "$jobs" -t "$factor" --print-errorlogs >"$1/logs/unit.log" 2>&1
	local rc=$? before=$failed
	count meson "$1/meson-logs/testlog.json"
	if [ "$rc" != 0 ] && [ "$failed" = "$before" ]; then
		add 0 1 0
		echo "   FAILED: meson test ended with $rc ($1/logs/unit.log)"
	fi
	[ "$failed" = "$before" ] || grep -E -m 40 '^# |runtime error|Sanitizer|Assertion' "$1/logs/unit.log"
}

stage_deps() {
	stage deps "packages for building and testing"
	if tools/deps.sh build quickstart check >build/logs/deps.log 2>&1; then
		add 1 0 0
	elif step "tools/deps.sh" build/logs/deps-build.log tools/deps.sh build quickstart; then
		# Without a network: what can be built can be tested, as far as the tools are there.
		skip "packages for testing" "$(grep -E 'installing|missing|could not|apt-get install' build/logs/deps.log | tail -n 2 | xargs)"
	else
		exit_now
	fi
	stage_end
}

stage_release() {
	stage release "gcc, hardened; unit tests"
	if step "release build" build/logs/build.log compile build gcc; then
		ninja -C build -t targets all | grep -q '^progs:' &&
			step "helper programs" build/logs/progs.log ninja -j"$jobs" -C build progs
		unit build 2
	fi
	stage_end
}

stage_asan() {
	stage asan "clang, ASan and UBSan; unit tests"
	aslr_allows
	mkdir -p build-asan/logs
	step "asan build" build-asan/logs/build.log compile build-asan clang-14 -Db_sanitize=address,undefined -Db_lundef=false &&
		unit build-asan 4 HANSARD_SAMPLE=1
	stage_end
}

stage_tsan() {
	stage tsan "gcc, TSan; unit tests"
	mkdir -p build-tsan/logs
	if ! aslr_allows; then
		skip "tsan unit tests" "vm.mmap_rnd_bits is over 28 and address randomization cannot be turned off"
	elif step "tsan build" build-tsan/logs/build.log compile build-tsan gcc -Db_sanitize=thread -Db_lundef=false; then
		unit build-tsan 8 HANSARD_SAMPLE=1
	fi
	stage_end
}

stage_clang() {
	stage clang "clang, release"
	mkdir -p build-clang/logs
	step "clang build" build-clang/logs/build.log compile build-clang clang-14
	stage_end
}

stage_lint() {
	stage lint "include order, sizes, words, format, clang-tidy, gcc -fanalyzer; planted faults"
	# What files are compiled with is in build/compile_commands.json.
	configure build gcc >build/logs/configure.log 2>&1
	"$python" tools/lint/lint.py >build/logs/lint.log 2>&1
	count tap build/logs/lint.log
	grep '^# ' build/logs/lint.log | head -n 60
	tools/lint/planted.sh >build/logs/planted.log 2>&1
	count tap build/logs/planted.log
	stage_end
}

# One fuzz target for some seconds, from its seeds (tests/corpus/<name>) and what it found before.
fuzz_one() { # name
	local name=$1 dir=build-fuzz/corpus/$1 seeds=() dict=()
	mkdir -p "$dir" build-fuzz/crashes
	[ -d "tests/corpus/$name" ] && seeds=("tests/corpus/$name")
	local found
	found=$(find src tests/corpus -name "$name.dict" 2>/dev/null | head -n 1)
	[ -n "$found" ] && dict=("-dict=$found")
	if "${no_aslr[@]}" "build-fuzz/src/fuzz-$name" -max_total_time="$fuzz_seconds" -timeout=10 -rss_limit_mb=2048 \
		-artifact_prefix="build-fuzz/crashes/$name-" "${dict[@]}" "$dir" "${seeds[@]}" >"build-fuzz/logs/$name.log" 2>&1; then
		echo "ok - fuzz $name: $(grep -Eo 'Done [0-9]+ runs' "build-fuzz/logs/$name.log")"
	else
		echo "not ok - fuzz $name (build-fuzz/logs/$name.log)"
		tail -n 20 "build-fuzz/logs/$name.log" | sed 's/^/# /'
	fi
}

stage_fuzz() {
	stage fuzz "$fuzz_seconds s per target, two at a time"
	aslr_allows
	mkdir -p build-fuzz/logs
	if step "fuzz build" build-fuzz/logs/build.log compile build-fuzz clang-14 -Dfuzz=true -Db_lundef=false; then
		local names
		names=$(find build-fuzz/src -maxdepth 1 -name 'fuzz-*' -type f -perm -u+x -printf '%f\n' | sed 's/^fuzz-//' | sort)
		export -f fuzz_one
		export fuzz_seconds
		# shellcheck disable=SC2016
		xargs -r -n 1 -P 2 bash -c 'no_aslr=('"${no_aslr[*]}"'); fuzz_one "$1"' _ <<<"$names" >build-fuzz/logs/all.tap
		grep -vE '^ok' build-fuzz/logs/all.tap
		echo "1..$(wc -w <<<"$names")" >>build-fuzz/logs/all.tap
		count tap build-fuzz/logs/all.tap
	fi
	stage_end
}

pytest_group() { # name directories...
	local name=$1 dirs=() dir
	shift
	for dir in "$@"; do
		find "$dir" -name 'test_*.py' 2>/dev/null | grep -q . && dirs+=("$dir")
	done
	rm -f "build/logs/$name.xml" "build/logs/$name.rc"
	[ ${#dirs[@]} -gt 0 ] || return 0
	# A hang must end as a failure: without the XML the count says so.
	timeout -k 10 "$system_seconds" "$python" -m pytest -q -p no:cacheprovider --junitxml="build/logs/$name.xml" -o junit_family=xunit1 "${dirs[@]}" \
		>"build/logs/$name.log" 2>&1
	echo $? >"build/logs/$name.rc"
}

pytest_count() { # name
	[ -f "build/logs/$1.log" ] || return 0
	local before=$failed
	count pytest "build/logs/$1.xml"
	if [ "$(cat "build/logs/$1.rc")" != 0 ] && [ "$failed" = "$before" ]; then
		add 0 1 0
		echo "   FAILED: pytest ended early (build/logs/$1.log)"
	fi
	[ "$failed" = "$before" ] || grep -E '^E  ' "build/logs/$1.log" | sort | uniq -c | sort -rn | head -n 30
}

stage_system() {
	stage system "pytest: integration, conformance, verifier, crash; the clients of Debian and npm"
	rm -f build/logs/{verifier,clients,integration}.log
	{
		pytest_group verifier tests/verifier tests/crash tests/sim tests/conformance
		pytest_group clients tests/clients/test_clients.py tests/clients/test_dump.py
	} &
	local other=$!
	pytest_group integration tests/integration
	wait "$other"
	pytest_count integration
	pytest_count verifier
	pytest_count clients
	stage_end
}

# The same tests on the binary that checks itself; slow, hence for check-long.
stage_system_asan() {
	stage system_asan "pytest: integration, on the ASan and UBSan build"
	rm -f build/logs/integration-asan.log
	HANSARD_BUILD=$PWD/build-asan HANSARD_TEST_WAIT=120 pytest_group integration-asan tests/integration
	pytest_count integration-asan
	stage_end
}

stage_clients() {
	stage clients "pytest: the clients of other registries, fetched by their languages' tools"
	rm -f build/logs/registries.log
	pytest_group registries tests/clients/test_registries.py
	pytest_count registries
	stage_end
}

exit_now() {
	echo "== $((SECONDS - began)) s"
	echo "$passed passed, $failed failed, $skipped skipped"
	[ "$failed" = 0 ] && [ "$passed" != 0 ]
	exit
}

if [ $# = 0 ]; then
	set -- deps release lint asan fuzz tsan clang system
	[ -z "${HANSARD_LONG:-}" ] || set -- "$@" system_asan
fi
for name in "$@"; do
	if ! declare -F "stage_$name" >/dev/null; then
		echo "tools/check.sh: no stage \"$name\"" >&2
		exit 2
	fi
done
for name in "$@"; do
	"stage_$name"
done
exit_now
