"""The lexer (src/policy/sql_lex.h) on PostgreSQL's own SQL texts: tokens and statements put together are the text."""

import os
import pathlib
import subprocess

import pytest

import lab
import regress_suite

BINARY = pathlib.Path(os.environ.get("HANSARD_BUILD", lab.ROOT / "build")) / "src" / "sql_lex_test"


@pytest.mark.skipif(not BINARY.exists(), reason="sql_lex_test is not built")
def test_texts_of_the_regression_suite():
    try:
        source = regress_suite.source()
    except (RuntimeError, AssertionError) as why:
        pytest.skip(f"the source cannot be had: {why}")
    done = subprocess.run([BINARY, "lex_of_postgres"], env={**os.environ, "HANSARD_SQL_TEXTS": str(source / "sql")}, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and "not ok" not in done.stdout and "SKIP" not in done.stdout, done.stdout
