"""PostgreSQL's own test of pipelines, libpq_pipeline, through the gateway: it passes, and the record has what it sent."""

import os
import pathlib

import lab
import pytest
import regress_suite

ROWS = 700  # as PostgreSQL's own test of it says


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    try:
        regress_suite.source()
        source = regress_suite.CACHE / "libpq_pipeline" / "libpq_pipeline.c"
        assert source.exists(), "the source package holds no libpq_pipeline"
    except (RuntimeError, AssertionError, StopIteration) as failure:
        pytest.skip(f"PostgreSQL's source cannot be had here: {str(failure)[:200]}")
    config = lab.pg_bin() / "pg_config"
    includes = [lab.run([config, which]).stdout.strip() for which in ("--includedir", "--includedir-server")]
    out = tmp_path_factory.mktemp("pipeline") / "libpq_pipeline"
    libs = pathlib.Path(lab.run([config, "--pkglibdir"]).stdout.strip()).parent / "lib"
    port = lab.run([config, "--libdir"]).stdout.strip()
    lab.run(["gcc", "-O1", "-w", f"-I{includes[0]}", f"-I{includes[1]}", "-o", out, source, f"-L{libs}", f"-L{port}", "-lpq", "-lpgport", "-lpgcommon"])
    return out


@pytest.fixture(scope="module")
def gateway():
    with lab.Postgres(lab.short_dir("pipe")) as pg:
        gateway = lab.Gateway(lab.hansard_binary(), pg)
        gateway.start()
        yield gateway
        gateway.stop()
        gateway.remove()


def names_of(program):
    return lab.run([program, "tests"]).stdout.split()


def test_every_pipeline_test_passes(program, gateway):
    names = names_of(program)
    assert len(names) >= 10
    token = gateway.token()
    for name in names:
        # It makes and drops its own tables, and tells what failed.
        traced = gateway.dir / f"{name}.trace"
        done = lab.run([program, "-r", ROWS, "-t", traced, name, gateway.conninfo(user="super.shop")], check=False, env={**os.environ, "PGPASSWORD": token}, timeout=60)
        assert done.returncode == 0, f"{name}: {done.stdout[-500:]}{done.stderr[-1500:]}"
        expected = regress_suite.CACHE / "libpq_pipeline" / "traces" / f"{name}.trace"
        if expected.exists():
            assert traced.read_text() == expected.read_text(), name
