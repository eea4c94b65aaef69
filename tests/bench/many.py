"""Many sessions, and many logins: the figures `many` and `logins` of make bench.

`many` puts 2,000 TLS sessions at once through Hansard and through PgBouncer, against a server that
costs nothing (fake_server.c), and prints memory per session (PSS, so that shared pages count once),
the time to log all of them in, and statements per second over all of them. `logins` makes a new TLS
connection for every statement (pgbench -C): with full handshakes, proof, admission on the record and
login at the target on Hansard's side; a TLS handshake and a waiting server connection on PgBouncer's.
"""

import os
import pathlib
import re
import shutil
import statistics
import subprocess
import time

import lab

CLIENTS_OF_LOGINS = 16  # each a thread of pgbench, whose connecting blocks


class FakeServer:
    """What lab.Postgres is, as far as ways of postgres.py ask."""

    def __init__(self):
        build = pathlib.Path(lab.hansard_binary()).parent
        lab.run(["ninja", "-C", build, "src/fake_server"])
        self.port = lab.free_port()
        self.passwords = {name: "unused" for name in ("app", "app_ro", "app_md5", "app_clear", "app_super")}
        self.process = subprocess.Popen([build / "src" / "fake_server", str(self.port)], stdout=subprocess.PIPE, text=True)
        assert self.process.stdout.readline() == "ready\n"

    def close(self):
        self.process.terminate()
        self.process.wait()


def pss_kib(pid):
    return int(re.search(r"^Pss:\s+(\d+)", pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text(), re.M).group(1))


def run_pgbench(way, clients, script, *extra):
    directory = lab.short_dir("many")
    (directory / "s.sql").write_text(script)
    process = subprocess.Popen([str(lab.pg_bin() / "pgbench"), "-h", "127.0.0.1", "-p", str(way.port), "-U", way.user, "-n", "-c", str(clients), "-j", "1", "-f", "s.sql", *extra, "shop"],
                               env={**os.environ, **way.env}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=directory)
    return directory, process


def result_of(directory, process):
    out, err = process.communicate(timeout=600)
    shutil.rmtree(directory, ignore_errors=True)
    tps = re.search(r"tps = ([\d.]+)", out)
    if process.returncode != 0 or tps is None:
        raise RuntimeError(f"pgbench failed: {err[-800:]}")
    connect = re.search(r"initial connection time = ([\d.]+)", out)
    return float(tps.group(1)), float(connect.group(1)) / 1000 if connect else 0.0


def all_at_once(way, count, seconds):
    before = {name: pss_kib(pid) for name, pid in way.pids().items()}
    # Not -T: its time begins before the first of many logins. About as many statements as PgBouncer does in that time.
    directory, process = run_pgbench(way, count, "select 1;\n", "-t", str(max(5, int(seconds * 8000 / count))))
    most = dict(before)
    while process.poll() is None:
        for name, pid in way.pids().items():
            most[name] = max(most.get(name, 0), pss_kib(pid))
        time.sleep(0.5)
    tps, connect = result_of(directory, process)
    return {"tps": tps, "connect_s": connect, "kib": {name: (most[name] - before[name]) / count for name in before}}


def sessions(opt):
    """count sessions at once; name → results."""
    import postgres  # the ways; it imports this file
    server = FakeServer()
    ways = {}
    try:
        limits = {"limits": {"sessions": opt.sessions + 100, "sessions_per_identity": opt.sessions + 100}}
        ways = {"pgbouncer": postgres.PgBouncer(server, opt.sessions + 100), "hansard": postgres.Hansard(server, "before-forward", limits), "hansard-async": postgres.Hansard(server, "async", limits)}
        results = postgres.rounds(ways, opt.rounds, lambda w: all_at_once(w, opt.sessions, max(3, int(opt.seconds))))
        fast = logins(ways, opt, " against a server that costs nothing")
    finally:
        for way in ways.values():
            way.close()
        server.close()
    print(f"\n## {opt.sessions} TLS sessions at once, against a server that costs nothing")
    for name, rs in results.items():
        kib = {p: statistics.median(r["kib"][p] for r in rs) for p in rs[0]["kib"]}
        print(f"{name:16} {postgres.med(rs, 'tps'):9.0f} tps  ×{postgres.ratio(results, name, 'pgbouncer'):.2f} of pgbouncer  all logged in after {postgres.med(rs, 'connect_s'):.1f} s"
              f"  KiB per session: {sum(kib.values()):.1f} ({'  '.join(f'{p} {v:.1f}' for p, v in kib.items())})")
    return {"sessions": results, "logins": fast}


def one_each(way, seconds, clients=CLIENTS_OF_LOGINS):
    import postgres
    before = {name: postgres.cpu_seconds(pid) for name, pid in way.pids().items()}
    begin = time.monotonic()
    tps, _ = result_of(*run_pgbench(way, clients, "select 1;\n", "-C", "-j", str(clients), "-T", str(seconds)))
    count = tps * (time.monotonic() - begin)
    return {"tps": tps, "p50": 0, "p99": 0, "cpu": {name: 1e6 * (postgres.cpu_seconds(pid) - before[name]) / count for name, pid in way.pids().items() if name in before}}


def logins(ways, opt, where=""):
    """Logins per second, one statement in each."""
    import postgres
    results = postgres.rounds(ways, opt.rounds, lambda w: one_each(w, max(3, int(opt.seconds))))
    postgres.table(f"a TLS connection per statement, {CLIENTS_OF_LOGINS} clients{where} (tps = logins per second, CPU per login)", results)
    single = postgres.rounds(ways, opt.rounds, lambda w: one_each(w, max(3, int(opt.seconds)), 1))
    postgres.table(f"the same, one client after the other{where}", single)
    return {"many": results, "single": single}
