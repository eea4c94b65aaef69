#!/usr/bin/env python3
"""make bench: Hansard beside PgBouncer (session pooling, unrecorded) and a direct connection.

All ways run against one PostgreSQL in interleaved rounds; printed are medians and, per round, the
ratio to PgBouncer, because the machine's speed drifts. TLS between client and gateway (and client and
PgBouncer) with the same kind of certificate; plain between either and the server. CPU per statement
comes from /proc/<pid>/stat of each process over a run. The rows "record" come from record_bench.c: the
recorder, verify and replay beside what bounds them, without a server; many and logins from many.py.

Options: --seconds N per measurement (default 5), --rounds N (3), --sessions N (2000), --json FILE,
--only NAME,… of record many simple extended prepared one rate bulk beside idle logins.
"""

import argparse
import json
import os
import pathlib
import re
import shutil
import statistics
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "integration"))
import lab  # noqa: E402
import many  # noqa: E402

TICK = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def rss_kib(pid):
    return int(re.search(r"VmRSS:\s+(\d+)", pathlib.Path(f"/proc/{pid}/status").read_text()).group(1))


class PgBouncer:
    def __init__(self, pg, sessions=200):
        self.dir = lab.short_dir("pgb")
        self.port = lab.free_port()
        self.pg = pg
        ca, cert, key = lab.make_ca(self.dir, "pgb")
        self.ca = ca
        users = self.dir / "users.txt"
        users.write_text('"app_trust" ""\n')
        ini = self.dir / "pgbouncer.ini"
        ini.write_text(f"[databases]\nshop = host=127.0.0.1 port={pg.port} dbname=shop user=app_trust\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {self.port}\n"
                       f"auth_type = trust\nauth_file = {users}\npool_mode = session\nmax_client_conn = {sessions + 300}\ndefault_pool_size = {sessions}\nunix_socket_dir =\n"
                       f"client_tls_sslmode = require\nclient_tls_cert_file = {cert}\nclient_tls_key_file = {key}\nserver_tls_sslmode = disable\n"
                       "ignore_startup_parameters = extra_float_digits\nlogfile = /dev/null\n")
        argv = ["pgbouncer", str(ini)]
        if os.geteuid() == 0:
            for path in self.dir.iterdir():
                shutil.chown(path, "postgres")
            argv = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", "--", *argv]
        self.process = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/")
        self.env = {"PGSSLMODE": "require"}
        self.user = "app_trust"
        lab.wait_for(lambda: subprocess.run(["psql", "-h", "127.0.0.1", "-p", str(self.port), "-U", self.user, "-XAtqc", "select 1", "shop"], env={**os.environ, **self.env},
                                            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0, "PgBouncer")

    def pids(self):
        return {"pgbouncer": self.process.pid}

    def close(self):
        self.process.terminate()
        self.process.wait()
        shutil.rmtree(self.dir, ignore_errors=True)


class Direct:
    def __init__(self, pg, tls):
        self.port, self.user, self.env = pg.port, "app_trust", {"PGSSLMODE": "require" if tls else "disable"}

    def pids(self):
        return {}

    def close(self):
        pass


class Hansard:
    def __init__(self, pg, durable, gateway=None, role=None):
        self.gateway = lab.Gateway(lab.hansard_binary(), pg, durable=durable, tls="disable", roles={"default": role or {"user": "app_trust", "auth": "trust"}}, gateway=gateway)
        self.gateway.start()
        self.port, self.user = self.gateway.port, "shop"
        self.env = {"PGSSLMODE": "require", "PGPASSWORD": self.gateway.token(ttl="12h")}

    def pids(self):
        return self.gateway.children()

    def close(self):
        self.gateway.stop()
        self.gateway.remove()


def pgbench(way, seconds, clients, mode="simple", extra=(), script=None):
    """Runs pgbench; returns tps, latencies in µs (when asked by -l) and CPU µs per transaction of each process."""
    before = {name: cpu_seconds(pid) for name, pid in way.pids().items()}
    log_dir = lab.short_dir("bench")
    command = [str(lab.pg_bin() / "pgbench"), "-h", "127.0.0.1", "-p", str(way.port), "-U", way.user, "-n", "-c", str(clients), "-j", "1", "-T", str(max(1, int(seconds))), "-M", mode, "-l",
               *(["-f", str(script)] if script else ["-S"]), *extra, "shop"]
    done = subprocess.run(command, env={**os.environ, **way.env}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=log_dir)
    if done.returncode != 0:
        raise RuntimeError(f"pgbench failed: {done.stderr[-800:]}")
    found = re.search(r"tps = ([\d.]+)", done.stdout)
    if found is None:
        raise RuntimeError(f"nothing was processed in {seconds} s (more --seconds?): {done.stdout[-400:]}")
    tps = float(found.group(1))
    count = int(re.search(r"actually processed: (\d+)", done.stdout).group(1))
    latencies = sorted(int(line.split()[2]) for path in log_dir.iterdir() for line in path.read_text().splitlines())
    shutil.rmtree(log_dir, ignore_errors=True)
    cpu = {name: 1e6 * (cpu_seconds(pid) - before[name]) / max(count, 1) for name, pid in way.pids().items() if name in before}
    return {"tps": tps, "p50": latencies[len(latencies) // 2], "p99": latencies[len(latencies) * 99 // 100], "cpu": cpu}


def device_sync_us():
    """p50 of a 4 KiB O_DIRECT|O_DSYNC overwrite where the stores lie."""
    import mmap
    directory = lab.short_dir("sync")
    path = directory / "f"
    block = mmap.mmap(-1, 4096)
    path.write_bytes(b"\0" * (1 << 20))
    fd = os.open(path, os.O_RDWR | os.O_DIRECT | os.O_DSYNC)
    times = []
    for i in range(400):
        t = time.perf_counter_ns()
        os.pwritev(fd, [block], (i % 256) * 4096)
        times.append((time.perf_counter_ns() - t) / 1000)
    os.close(fd)
    shutil.rmtree(directory)
    return statistics.median(times)


def rounds(ways, count, measure):
    """Interleaved: every round measures every way once. name → list of results."""
    out = {name: [] for name in ways}
    for _ in range(count):
        for name, way in ways.items():
            out[name].append(measure(way))
    return out


def med(results, key):
    return statistics.median(r[key] for r in results)


def ratio(results, name, base, key="tps"):
    return statistics.median(a[key] / b[key] for a, b in zip(results[name], results[base]))


def table(title, results, base="pgbouncer", note=""):
    print(f"\n## {title}{note}")
    for name, rs in results.items():
        cpu = "  ".join(f"{p} {statistics.median(r['cpu'].get(p, 0) for r in rs):.1f}" for p in sorted(rs[0]["cpu"]))
        print(f"{name:16} {med(rs, 'tps'):9.0f} tps  ×{ratio(results, name, base):.2f} of {base}  p50 {med(rs, 'p50'):6.0f} µs  p99 {med(rs, 'p99'):6.0f} µs  {'CPU µs/stmt: ' + cpu if cpu else ''}")
    sys.stdout.flush()


def bulk(way, rows, width):
    """Rows of `width` bytes to /dev/null by psql; MB/s of payload."""
    begin = time.perf_counter()
    done = subprocess.run(["psql", "-h", "127.0.0.1", "-p", str(way.port), "-U", way.user, "-d", "shop", "-XAtqc", f"copy (select repeat(chr(65 + (g % 26)), {width // 2}) || md5(g::text) || repeat('x', {max(0, width // 2 - 32)}) from generate_series(1, {rows}) g) to stdout"],
                          env={**os.environ, **way.env}, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 0, done.stderr
    return {"tps": rows * width / (time.perf_counter() - begin) / 1e6, "cpu": {}, "p50": 0, "p99": 0}


def record():
    """Bulk through the recorder, verify, replay: record_bench beside the hansard that is measured."""
    build = pathlib.Path(lab.hansard_binary()).parent
    lab.run(["ninja", "-C", build, "src/record_bench"])
    print("\n## recorder, verify and replay beside their limits")
    sys.stdout.flush()
    directory = lab.short_dir("record")
    lines = []
    with subprocess.Popen([str(build / "src" / "record_bench"), str(directory)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        for line in process.stdout:
            print(line, end="", flush=True)
            lines.append(line.rstrip())
    shutil.rmtree(directory, ignore_errors=True)
    if process.returncode != 0:
        raise RuntimeError("record_bench failed")
    return lines


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--sessions", type=int, default=2000, help="of the figure many")
    parser.add_argument("--only", default="")
    parser.add_argument("--json")
    opt = parser.parse_args()
    wanted = lambda name: not opt.only or name in opt.only.split(",")  # noqa: E731
    report = {"device_sync_us": device_sync_us()}
    print(f"device sync (4 KiB, O_DIRECT|O_DSYNC): p50 {report['device_sync_us']:.0f} µs; {os.cpu_count()} cores")
    if wanted("record"):
        report["record"] = record()
    if wanted("many"):
        report["many"] = many.sessions(opt)
    if not opt.only or set(opt.only.split(",")) - {"record", "many"}:
        postgres(opt, wanted, report)
    if opt.json:
        pathlib.Path(opt.json).write_text(json.dumps(report, indent=1))


def postgres(opt, wanted, report):
    with lab.Postgres(lab.short_dir("pg"), {"log_connections": "off", "shared_buffers": "256MB", "max_connections": 300}) as pg:
        lab.run([lab.pg_bin() / "pgbench", "-i", "-q", "-s", "10", "-h", pg.dir, "-p", str(pg.port), "-U", "postgres", "shop"])
        pg.sql("shop", "grant all on all tables in schema public to app_trust")
        pg.sql("shop", "vacuum analyze")
        ways = {"direct": Direct(pg, False), "direct-tls": Direct(pg, True), "pgbouncer": PgBouncer(pg), "hansard": Hansard(pg, "before-forward"), "hansard-async": Hansard(pg, "async")}
        try:
            for mode in ("simple", "extended", "prepared"):
                if wanted(mode):
                    report[mode] = rounds(ways, opt.rounds, lambda w, m=mode: pgbench(w, opt.seconds, 64, m))
                    table(f"pgbench -S -M {mode}, 64 clients", report[mode])
            pair = {k: ways[k] for k in ("direct-tls", "pgbouncer", "hansard", "hansard-async")}
            if wanted("one"):
                report["one"] = rounds(pair, opt.rounds, lambda w: pgbench(w, opt.seconds, 1))
                table("one client", report["one"])
                print(f"goal: hansard's p50 ≤ PgBouncer's {med(report['one']['pgbouncer'], 'p50'):.0f} + sync {report['device_sync_us']:.0f} + 60 µs")
            if wanted("rate"):
                full = pgbench(ways["direct"], opt.seconds, 16)["tps"]
                report["rate"] = rounds(pair, opt.rounds, lambda w: pgbench(w, opt.seconds, 16, extra=["-R", str(int(full / 4))]))
                table("16 clients at a quarter of direct's rate (clients and server share the cores)", report["rate"])
            if wanted("bulk"):
                for width, rows in ((150, 400_000), (8192, 12_000)):
                    report[f"bulk{width}"] = rounds(ways, opt.rounds, lambda w, a=rows, b=width: bulk(w, a, b))
                    table(f"bulk rows of {width} bytes (COPY TO STDOUT; column tps = MB/s)", report[f"bulk{width}"], base="direct")
            if wanted("beside"):
                beside(ways, opt, report)
            if wanted("idle"):
                report["idle"] = idle_memory(ways["hansard"])
            if wanted("logins"):
                report["logins"] = many.logins(pair, opt)
        finally:
            for way in ways.values():
                way.close()


class BulkReader:
    """Reads rows without end by one way, until closed."""

    def __init__(self, way):
        script = lab.short_dir("bulk") / "bulk.sql"
        script.write_text("select repeat('b', 150) from generate_series(1, 20000);\n")
        self.process = subprocess.Popen([str(lab.pg_bin() / "pgbench"), "-h", "127.0.0.1", "-p", str(way.port), "-U", way.user, "-n", "-c", "1", "-T", "600", "-f", str(script), "shop"],
                                        env={**os.environ, **way.env}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=script.parent)

    def close(self):
        self.process.kill()
        self.process.wait()


def beside(ways, opt, report):
    """16 small sessions through Hansard; one bulk reader through Hansard, or past it."""
    results = {"reader past hansard": [], "reader in hansard": []}
    for _ in range(opt.rounds):
        for name, way in (("reader past hansard", ways["direct-tls"]), ("reader in hansard", ways["hansard"])):
            reader = BulkReader(way)
            try:
                results[name].append(pgbench(ways["hansard"], opt.seconds, 16))
            finally:
                reader.close()
    report["beside"] = results
    table("16 sessions beside one bulk reader (goal: p50 ≤ 1.3 × of the same with the reader past Hansard)", results, base="reader past hansard")
    print(f"p50 ratio {statistics.median(a['p50'] / b['p50'] for a, b in zip(results['reader in hansard'], results['reader past hansard'])):.2f}")


def idle_memory(way, sessions=100):
    before = {name: rss_kib(pid) for name, pid in way.pids().items()}
    clients = [subprocess.Popen(["psql", "-h", "127.0.0.1", "-p", str(way.port), "-U", way.user, "-d", "shop", "-XAtq"], env={**os.environ, **way.env}, stdin=subprocess.PIPE,
                                stdout=subprocess.PIPE) for _ in range(sessions)]
    for c in clients:
        c.stdin.write(b"select 1;\n")
        c.stdin.flush()
        c.stdout.readline()
    after = {name: rss_kib(pid) for name, pid in way.pids().items()}
    for c in clients:
        c.stdin.close()
        c.wait()
    per = {name: (after[name] - before[name]) / sessions for name in before}
    print(f"\n## memory per idle session over {sessions} sessions, TLS on the client's side (goal: worker + recorder ≤ 64 KiB)")
    print("  ".join(f"{name} {kib:.1f} KiB" for name, kib in per.items()))
    return per


if __name__ == "__main__":
    main()
