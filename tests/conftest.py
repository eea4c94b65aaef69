"""Time limits: a test that hangs ends as one failure that says where, not as a lost stage.

Each of set-up, call and tear-down may take LIMIT seconds; @pytest.mark.limit(n) gives a test more.
HANSARD_TEST_WAIT stretches the limits as it stretches the waits of lab.py (slow builds).
"""

import os
import signal

import pytest

LIMIT = 180
STRETCH = max(1.0, float(os.environ.get("HANSARD_TEST_WAIT", "30")) / 30)


class TooLong(BaseException):
    """Not an Exception: a test's own `except Exception` must not swallow it."""


def limited(item, part):
    mark = item.get_closest_marker("limit")
    seconds = (mark.args[0] if mark else LIMIT) * STRETCH

    def expired(*_):
        raise TooLong(f"{part} took more than {seconds:.0f} s")

    before = signal.signal(signal.SIGALRM, expired)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_setup(item):
    yield from limited(item, "set-up")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_call(item):
    yield from limited(item, "the test")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_teardown(item):
    yield from limited(item, "tear-down")
