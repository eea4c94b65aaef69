#!/usr/bin/env bash
# make bench: the PostgreSQL rows of the measured goals, each as a ratio within one run.
set -euo pipefail
cd "$(dirname "$0")/../.."
exec /usr/bin/python3 tests/bench/postgres.py "$@"
