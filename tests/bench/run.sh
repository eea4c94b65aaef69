#!/usr/bin/env bash
# make bench: the measured goals, each as a ratio within one run (--only record needs no PostgreSQL).
set -euo pipefail
cd "$(dirname "$0")/../.."
exec /usr/bin/python3 tests/bench/postgres.py "$@"
