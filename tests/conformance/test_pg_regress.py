"""PostgreSQL's regression suite through the gateway prints what it prints directly.

The connection and the superuser share a name, every database is allowed, hygiene is open. A test
whose output differs is run again in a serial schedule, on both ways, before it counts (parallel
tests race with each other in the direct run too). With hygiene pinned the suite must differ only in
the files of PINNED, each for the reason given there.
"""

import shutil

import lab
import pytest
import regress_suite

# What pinned refuses, and the tests that show it.
PINNED = {
    "strings": "turns standard_conforming_strings off to test escapes: pinned ends the session there (text would mean something else)",
    "plpgsql": "the same setting, for quoting inside function bodies",
}


@pytest.fixture(scope="module")
def suite():
    try:
        source = regress_suite.staged()
    except (RuntimeError, AssertionError, StopIteration) as failure:
        pytest.skip(f"PostgreSQL's regression suite cannot be had here: {str(failure)[:200]}")
    yield source, regress_suite.build(source)
    shutil.rmtree(source.parent, ignore_errors=True)


class Bench:
    """One server, one output directory, several ways to run the suite."""

    def __init__(self, suite):
        self.source, self.pg_regress = suite
        self.out = lab.short_dir("regress")
        self.pg = lab.Postgres(lab.short_dir("pgr"), {"max_connections": 300})
        self.pg.__enter__()
        self.kept = {}

    def close(self):
        self.pg.__exit__()
        shutil.rmtree(self.out, ignore_errors=True)

    def reset(self):
        self.pg.sql("postgres", "drop database if exists regression")
        roles = self.pg.sql("postgres", "select rolname from pg_roles where rolname like 'regress%'").split()
        for role in roles:
            self.pg.sql("postgres", f'drop role "{role}"')
        spaces = self.pg.sql("postgres", "select spcname from pg_tablespace where spcname like 'regress%'").split()
        for space in spaces:
            self.pg.sql("postgres", f'drop tablespace "{space}"')
        shutil.rmtree(self.out / "results", ignore_errors=True)

    def run(self, name, gateway=None, serial=False):
        self.reset()
        env = {}
        port = self.pg.port
        if gateway is not None:
            env = {"PGPASSWORD": gateway.token(), "PGSSLMODE": "verify-full", "PGSSLROOTCERT": str(gateway.store / "ca.pem")}
            port = gateway.port
        run = regress_suite.Run(self.source, self.pg_regress, self.out, "127.0.0.1", port, "postgres", env)
        run.run(regress_suite.schedule_tests(self.source) if serial else None)
        kept = {t: run.result(t) for t in regress_suite.schedule_tests(self.source)}
        assert sum(v is not None for v in kept.values()) > 200, (self.out / "log").read_text()[-3000:]
        return kept

    def differing(self, gateway, expected):
        if "parallel" not in self.kept:
            self.kept["parallel"] = self.run("direct")
        through = self.run("gateway", gateway)
        differ = [t for t, out in self.kept["parallel"].items() if out != through[t] and t not in expected]
        if differ:
            if "serial" not in self.kept:
                self.kept["serial"] = self.run("direct", serial=True)
            again = self.run("gateway", gateway, serial=True)
            still = []
            for t in differ:
                if again[t] != self.kept["serial"][t]:
                    still.append(t)
                    (self.out / f"{t}.direct").write_bytes(self.kept["serial"][t] or b"")
                    (self.out / f"{t}.gateway").write_bytes(again[t] or b"")
            differ = still
        return differ

    def diff(self, test):
        return lab.run(["diff", "-U2", self.out / f"{test}.direct", self.out / f"{test}.gateway"], check=False).stdout[:3000]


@pytest.fixture(scope="module")
def bench(suite):
    b = Bench(suite)
    yield b
    b.close()


def gateway_for(bench, hygiene):
    spec = {"protocol": "postgres", "address": f"127.0.0.1:{bench.pg.port}", "databases": {"default": "postgres", "allow": ["*"]}, "tls": {"mode": "disable"},
            "roles": {"default": {"user": "postgres", "auth": "trust"}}, "access": [{"groups": ["agents"], "roles": ["default"]}],
            "record": {"durable": "before-forward", "results": "full"}, "hygiene": hygiene, "session_max": "1h"}
    return lab.Gateway(lab.hansard_binary(), bench.pg, connections={"postgres": spec})


@pytest.mark.limit(900)  # four runs of 10 to 60 s each, when tests are to be run again serially
@pytest.mark.parametrize("hygiene", ["open", "pinned"])
def test_same_output(bench, hygiene):
    gateway = gateway_for(bench, hygiene)
    gateway.start()
    try:
        unexpected = bench.differing(gateway, PINNED if hygiene == "pinned" else {})
        print(f"{hygiene}: {len(regress_suite.schedule_tests(bench.source))} files, {len(unexpected)} differ: {', '.join(unexpected) or 'none'}")
        assert not unexpected, "\n".join(f"=== {t}\n{bench.diff(t)}" for t in unexpected)
    finally:
        gateway.stop()
        gateway.remove()
