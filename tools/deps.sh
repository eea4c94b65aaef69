#!/usr/bin/env bash
# tools/deps.sh GROUP...: the Debian packages that a group needs (build, quickstart, check, bench).
#
# Silent when nothing is missing. Otherwise it installs as root, or says what to install. It never
# calls sudo: what changes the system is for its owner to decide.
set -euo pipefail

build="gcc libc6-dev make meson ninja-build pkg-config libssl-dev libzstd-dev libyaml-dev libseccomp-dev libjansson-dev libsqlite3-dev libcurl4-openssl-dev"
quickstart="$build postgresql postgresql-client openssl zstd python3 procps util-linux"
check="$quickstart clang-14 libclang-rt-14-dev llvm-14 clang-tidy-14 clang-format-14 python3-pytest dpkg-dev patch tshark mandoc iproute2 \
postgresql-server-dev-15 libpq-dev xz-utils bzip2 diffutils nodejs npm \
python3-psycopg2 python3-psycopg python3-asyncpg libdbd-pg-perl ruby-pg php-cli php-pgsql odbc-postgresql unixodbc python3-pyodbc"
bench="$quickstart pgbouncer"

[ $# -gt 0 ] || { echo "usage: tools/deps.sh build|quickstart|check|bench ..." >&2; exit 2; }
wanted=""
for group in "$@"; do
	case $group in
	build) wanted+=" $build" ;;
	quickstart) wanted+=" $quickstart" ;;
	check) wanted+=" $check" ;;
	bench) wanted+=" $bench" ;;
	*)
		echo "tools/deps.sh: no group \"$group\" (build, quickstart, check, bench)" >&2
		exit 2
		;;
	esac
done

if ! command -v dpkg-query >/dev/null; then
	echo "tools/deps.sh: not a Debian system; needed here (Debian 12's names):" >&2
	echo "$wanted" | tr ' ' '\n' | sort -u | xargs echo " " >&2
	exit 0
fi

missing=""
for package in $(echo "$wanted" | tr ' ' '\n' | sort -u); do
	dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' && continue
	# pkg-config is a virtual name on newer systems.
	[ "$package" = pkg-config ] && command -v pkg-config >/dev/null && continue
	# Others package node with its npm in one.
	[[ "$package" =~ ^(nodejs|npm)$ ]] && command -v node >/dev/null && command -v npm >/dev/null && continue
	missing+=" $package"
done
[ -n "$missing" ] || exit 0

if [ "$(id -u)" != 0 ]; then
	echo "tools/deps.sh: missing packages; as root:" >&2
	echo "  apt-get install --no-install-recommends$missing" >&2
	exit 1
fi
echo "installing:$missing"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
export DEBIAN_FRONTEND=noninteractive
# shellcheck disable=SC2086
if ! { apt-get update && apt-get install -y --no-install-recommends $missing; } >"$log" 2>&1; then
	tail -n 30 "$log" >&2
	echo "tools/deps.sh: the packages could not be installed" >&2
	exit 1
fi
