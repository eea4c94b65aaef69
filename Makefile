# Thin: meson builds (meson.build, src/meson.build), tools/check.sh tests. Build directories:
# build (release, gcc), build-clang, build-asan, build-tsan, build-fuzz; logs are in build*/logs.
JOBS ?= 2
PREFIX ?= /usr/local
MESON = meson setup --prefix=$(PREFIX)

all: build/build.ninja
	@ninja -j$(JOBS) -C build --quiet
	@echo "build/hansard is built"

build/build.ninja:
	@tools/deps.sh build
	@$(MESON) build >/dev/null || { cat build/meson-logs/meson-log.txt; exit 1; }

# Everything a change must pass, at most 30 minutes on two cores; check-long runs the samples whole.
check:
	@tools/check.sh
check-long:
	@HANSARD_LONG=1 tools/check.sh
check-clients:
	@tools/check.sh deps release clients

# One stage each.
asan:
	@tools/check.sh asan
tsan:
	@tools/check.sh tsan
lint:
	@tools/check.sh lint
fuzz:
	@tools/check.sh fuzz
format:
	@find src tests -name node_modules -prune -o -name '*.[ch]' -print0 | xargs -0 -r -P$(JOBS) -n16 clang-format-14 -i

bench: all
	@tools/deps.sh bench
	@tests/bench/run.sh

# Mixed load for HOURS (24) or SOAK_MINUTES on one gateway: memory and descriptors must not grow.
soak: all
	@tools/deps.sh check
	@/usr/bin/python3 tests/soak/soak.py

quickstart:
	@tools/deps.sh quickstart
	@$(MAKE) --no-print-directory all
	@tools/quickstart.sh

deps:
	@tools/deps.sh build quickstart check bench

# make install PREFIX=/usr DESTDIR=/tmp/staging: the program, the man pages, examples.
install: all
	@meson configure build --prefix=$(PREFIX)
	@meson install -C build

clean:
	rm -rf build build-clang build-asan build-tsan build-fuzz

.PHONY: all check check-long check-clients asan tsan lint fuzz format bench soak quickstart deps install clean
