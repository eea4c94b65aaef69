import pathlib
import sys

sys.path[:0] = [str(pathlib.Path(__file__).parent), str(pathlib.Path(__file__).parents[1] / "integration")]

import pytest  # noqa: E402

pytest.register_assert_rewrite("rig", "test_oracle")

import rig  # noqa: E402


@pytest.fixture(scope="session")
def bench():
    """version → rig.Bench, each begun when first asked for."""
    begun = {}

    def get(version):
        if version not in begun:
            begun[version] = rig.Bench(version)
        return begun[version]

    yield get
    for one in begun.values():
        one.close()
