"""`record: { results: … }`: what the client gets, what the record has of it, and what readers say."""

import json

import pytest

import lab
from test_hidden import events_of, wait_closed

ROW = "kept-or-not-"


def rows_of(gateway):
    return [json.loads(x) for x in gateway.hansard("export", "@last", "--as", "ndjson").stdout.splitlines() if json.loads(x)["type"] == "command"]


@pytest.fixture
def recorded(binary, pg):
    """A function that starts a gateway with such a record."""
    made = []

    def make(record):
        gateway = lab.Gateway(binary, pg)
        made.append(gateway)
        gateway.connections["shop"]["record"].update(record)
        gateway.write_config()
        gateway.start()
        return gateway

    yield make
    for gateway in made:
        gateway.stop()
        gateway.remove()


@pytest.mark.parametrize("results,durable,kept,name", [
    ("full", "before-forward", 400, "full"), ({"head": 100}, "before-forward", 100, "head: 100"), ({"head": 100}, "both-ways", 100, "head: 100"),
    ("digest", "both-ways", 0, "digest"), ("none", "before-forward", 0, "none")])
def test_rows(recorded, results, durable, kept, name):
    gateway = recorded({"results": results, "durable": durable})
    out = gateway.psql(f"select '{ROW}' || i from generate_series(1, 400) i").stdout
    assert out.count(ROW) == 400
    wait_closed(gateway)
    command = [c for c in rows_of(gateway) if "generate_series" in (c["text"] or "")][0]
    assert len(command["result"].get("rows", [])) == kept and command["rows"] == 400 and command["rows_returned"] == 400
    assert command["result"].get("rows_not_recorded", 0) == 400 - kept and command["result"]["tag"] == "SELECT 400"
    assert f"recorded       {name}" in gateway.hansard("show", "@last").stdout
    played = gateway.hansard("play", "@last").stdout
    assert (f"… {400 - kept} rows not recorded" in played) == (kept < 400), played
    left_out = events_of(gateway, "withheld" if results == "none" else "digest")
    assert sum(e["rows"] for e in left_out) == 400 - kept
    assert len(left_out) <= 10, "one event per read, not per row"
    assert all(("digest" in e) == (results != "none") for e in left_out)
    gateway.stop()
    done = lab.python_verifier(gateway.store)
    assert done.returncode == 0, done.stdout
