"""Fixtures: a real PostgreSQL, a real gateway, real clients. See lab.py for what they are made of."""

import os
import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))

import lab  # noqa: E402


@pytest.fixture(scope="session")
def binary():
    return lab.hansard_binary()


@pytest.fixture(scope="session")
def pg(tmp_path_factory):
    """One PostgreSQL for the whole run: TLS, scram, md5, password, trust and a Unix socket."""
    with lab.Postgres(lab.short_dir("pg")) as server:
        yield server


@pytest.fixture
def make_gateway(binary, pg, request):
    """A function that starts a gateway in front of `pg`; all are stopped after the test."""
    started = []

    def make(**options):
        gateway = lab.Gateway(binary, pg, **options)
        started.append(gateway)
        gateway.start()
        return gateway

    yield make
    failed = getattr(request.node, "rep_call", None) is not None and request.node.rep_call.failed
    for gateway in started:
        gateway.stop()
        if failed:
            sys.stderr.write(f"--- gateway log ({gateway.dir}) ---\n{gateway.log_text()[-6000:]}\n")
        gateway.remove()


@pytest.fixture
def gateway(make_gateway):
    return make_gateway()


@pytest.fixture(scope="module")
def shared_gateway(binary, pg):
    """For tests that only read: one gateway for a whole file."""
    gateway = lab.Gateway(binary, pg)
    gateway.start()
    yield gateway
    gateway.stop()
    gateway.remove()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    setattr(item, "rep_" + call.when, outcome.get_result())
