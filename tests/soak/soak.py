#!/usr/bin/env python3
"""make soak: mixed load for hours on one gateway, and what must not grow does not grow.

Load, all of it at a steady rate so that memory has a level to stay at: pgbench simple and prepared
(sessions of a minute), logins (pgbench -C), COPY both ways, values of 4 MiB both ways, errors, cancels,
wrong tokens, garbage instead of a startup packet, sessions that idle, and readers (tail, sessions,
search, export, play, status); SIGHUP every 20 s; now and then a process of the gateway is killed, or
the whole gateway.

Every sample holds, for each process, RSS, PSS and what of it is anonymous, and descriptors; the store's
size; the index's lag; the time of one login and statement. It fails when

- anonymous memory or descriptors of a process grow: the slope (Theil-Sen: the median of all slopes
  between two samples) after a warm-up, times the time seen, and the medians of first and last quarter
  both say so; or descriptors do not come down again when the load is over;
- a row that the ledger's clients inserted is in the server and not in the record;
- a client fails while nothing was killed;
- verification by either verifier is not clean at the end.

Environment: HOURS (24) or SOAK_MINUTES; SOAK_RATE, statements per second of each pgbench (100);
SOAK_KILL_MINUTES, between kills (a quarter of the time, 5 to 30); SOAK_SEED; HANSARD_BUILD.
"""

import contextlib
import itertools
import json
import os
import pathlib
import random
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "integration"))
import lab  # noqa: E402

SECONDS = float(os.environ["SOAK_MINUTES"]) * 60 if "SOAK_MINUTES" in os.environ else float(os.environ.get("HOURS", "24")) * 3600
RATE = int(os.environ.get("SOAK_RATE", "100"))
KILL_EVERY = float(os.environ.get("SOAK_KILL_MINUTES", min(30, max(5, SECONDS / 60 / 4)))) * 60
SAMPLE_EVERY = max(3.0, min(30.0, SECONDS / 300))
AFTER_KILL = 15.0  # how long a kill may still be felt
MEMORY_SLACK_KIB, MEMORY_SLACK = 4096, 0.15
FD_SLACK = 16
ROLES = ["keeper", "egress", "worker", "recorder"]

began = time.monotonic()


def say(text):
    print(f"[{time.monotonic() - began:7.0f} s] {text}", flush=True)


# --- what is measured ---


def memory(pid):
    """RSS, PSS, anonymous PSS in KiB."""
    text = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text()
    return [int(re.search(rf"^{key}:\s+(\d+)", text, re.M).group(1)) for key in ("Rss", "Pss", "Pss_Anon")]


def store_bytes(directory):
    total = 0
    for root, _, names in os.walk(directory):
        for name in names:
            with contextlib.suppress(OSError):
                total += os.lstat(os.path.join(root, name)).st_blocks * 512
    return total


class Life:
    """One process from its start to its end."""

    def __init__(self, role, pid):
        self.role, self.pid = role, pid
        self.at, self.rss, self.pss, self.anon, self.fds = [], [], [], [], []

    def sample(self, now):
        with contextlib.suppress(OSError, AttributeError):
            rss, pss, anon = memory(self.pid)
            fds = len(os.listdir(f"/proc/{self.pid}/fd"))
            for series, value in ((self.at, now), (self.rss, rss), (self.pss, pss), (self.anon, anon), (self.fds, fds)):
                series.append(value)

    def growth(self, series, warm):
        """(slope per hour, growth by the slope, growth between quarters, median) after `warm` seconds; None: seen too shortly."""
        points = [(t, v) for t, v in zip(self.at, series) if t - self.at[0] >= warm]
        if len(points) < 8 or points[-1][0] - points[0][0] < 60:
            return None
        if len(points) > 400:
            points = points[::len(points) // 400]
        slope = statistics.median((b[1] - a[1]) / (b[0] - a[0]) for a, b in itertools.combinations(points, 2))
        quarter = max(2, len(points) // 4)
        first, last = (statistics.median(v for _, v in part) for part in (points[:quarter], points[-quarter:]))
        return slope * 3600, slope * (points[-1][0] - points[0][0]), last - first, statistics.median(v for _, v in points)


# --- the load ---


class Load:
    def __init__(self, gateway, seed):
        self.g = gateway
        self.random = random.Random(seed)
        self.fate = random.Random(seed)  # of its own: what is killed when does not depend on the load's threads
        self.stop = threading.Event()
        self.lock = threading.Lock()
        self.kills = []           # (monotonic time, what)
        self.failures = []        # of clients that no kill explains
        self.counts = {}
        self.running = set()
        self.env = {**os.environ, "PGSSLMODE": "require", "LC_ALL": "C.UTF-8"}
        self.tokens = {name: gateway.token(subject=name, ttl="30d") for name in ("mixed", "ledger", "idle")}
        self.threads = []

    def start(self, name, run, every):
        def loop():
            while not self.stop.is_set():
                try:
                    run()
                except Exception as failure:  # pylint: disable=broad-except  # a thread that died would thin the load out
                    self.failed(name, time.monotonic(), repr(failure))
                self.stop.wait(every)
        thread = threading.Thread(target=loop, name=name, daemon=True)
        thread.start()
        self.threads.append(thread)

    def failed(self, name, started, why):
        time.sleep(0.2)  # a kill is noted before it is done; this is for the clock of whoever notes it
        now = time.monotonic()
        with self.lock:
            if not any(started - AFTER_KILL <= at <= now for at, _ in self.kills):
                self.failures.append((now - began, name, why[-400:]))

    def client(self, name, argv, subject="mixed", ok=lambda code, err: code == 0, stdin=None, interrupt=None):
        """Runs a client to its end; a failure that no kill explains is kept."""
        started = time.monotonic()
        process = subprocess.Popen([str(a) for a in argv], env={**self.env, "PGPASSWORD": self.tokens.get(subject, subject)}, stdin=subprocess.PIPE if stdin else subprocess.DEVNULL,
                                   stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, errors="replace", cwd=self.g.dir)
        with self.lock:
            self.running.add(process)
        try:
            if interrupt:
                self.stop.wait(interrupt)
                process.send_signal(signal.SIGINT)
            _, err = process.communicate(stdin, timeout=240)
        except subprocess.TimeoutExpired:
            process.kill()
            _, err = process.communicate()
            err = "did not end within 240 s: " + err
        with self.lock:
            self.running.discard(process)
            self.counts[name] = self.counts.get(name, 0) + 1
        if not ok(process.returncode, err) and not self.stop.is_set():
            self.failed(name, started, f"exit {process.returncode}: {err}")

    def psql(self, name, sql, **kw):
        self.client(name, ["psql", self.g.conninfo(), "-XAtq", "-v", "ON_ERROR_STOP=1", *sum((["-c", s] for s in ([sql] if isinstance(sql, str) else sql)), [])], **kw)

    def pgbench(self, name, script, *args, **kw):
        path = self.g.dir / f"{name}.sql"
        path.write_text(script)
        self.client(name, [lab.pg_bin() / "pgbench", "-h", "127.0.0.1", "-p", self.g.port, "-U", "shop", "-n", "-f", path, *args, "shop"], **kw)

    def hansard(self, name, *args):
        self.client(name, [self.g.binary, args[0], "--config", self.g.config, *args[1:]], ok=lambda code, err: code in (0, 1))

    def tail(self):
        """Watches for half a minute; ends by SIGINT as a person would end it."""
        self.client("tail", [self.g.binary, "tail", "--config", self.g.config], ok=lambda code, err: True, interrupt=30)

    def garbage(self):
        data = self.random.choice([b"\xff" * 64, b"\0\0\0\x08\x04\xd2\x16/", b"GET / HTTP/1.1\r\n\r\n", lab.startup()[:9], os.urandom(200)])
        with contextlib.suppress(OSError):
            with socket.create_connection(("127.0.0.1", self.g.port), timeout=10) as s:
                s.sendall(data)
                self.stop.wait(self.random.random())
        self.counts["garbage"] = self.counts.get("garbage", 0) + 1

    def idle(self):
        """Twenty sessions that say one thing and then wait half a minute."""
        started = time.monotonic()
        clients = [lab.Client(self.g, self.tokens["idle"]) for _ in range(20)]
        answers = []
        for c in clients:
            with contextlib.suppress(OSError):
                answers.append(c.ask("select 'here';"))
        self.stop.wait(30)
        for c in clients:
            with contextlib.suppress(OSError, ValueError, subprocess.TimeoutExpired):
                c.process.communicate("\\q\n", timeout=30)
            c.process.kill()
            c.process.wait()
        self.counts["idle"] = self.counts.get("idle", 0) + len(clients)
        if answers != ["here"] * len(clients) and not self.stop.is_set():
            self.failed("idle", started, repr(answers))

    def begin(self):
        select = "\\set k random(1, 500)\nselect v, repeat('r', 200) from load where k = :k;\nupdate load set v = v + 1 where k = :k;\n"
        # Rows of the ledger name themselves in the statement's text.
        ledger = "\\set n random(1, 9000000000000000)\ninsert into ledger values (:n);\n"
        everything = [
            ("simple", lambda: self.pgbench("simple", select, "-c", 4, "-T", 60, "-R", RATE, "-M", "simple"), 0),
            ("prepared", lambda: self.pgbench("prepared", select, "-c", 4, "-T", 45, "-R", RATE, "-M", "prepared"), 0),
            ("ledger", lambda: self.pgbench("ledger", ledger, "-c", 2, "-T", 30, "-R", 20, "-M", "simple", subject="ledger"), 0.1),
            ("logins", lambda: self.pgbench("logins", "select 1;\n", "-c", 2, "-T", 20, "-R", 4, "-C"), 1),
            ("copy out", lambda: self.psql("copy out", "copy (select g, md5(g::text) from generate_series(1, 20000) g) to stdout"), 2),
            ("copy in", lambda: self.psql("copy in", ["create temp table t(a int, b text)", "copy t from stdin"], stdin="".join(f"{i}\tcopied {i}\n" for i in range(20000))), 3),
            ("large out", lambda: self.psql("large out", "select repeat('long ', 800000)"), 5),
            ("large in", lambda: self.client("large in", ["psql", self.g.conninfo(), "-XAtq"], stdin=f"select length('{'l' * (4 << 20)}');\n"), 7),
            ("errors", lambda: self.psql("errors", self.random.choice(["select 1/0", "selec 1", "select * from nowhere", "begin; select 1/0; commit"]), ok=lambda code, err: "ERROR" in err), 1),
            ("cancels", lambda: self.psql("cancels", "select pg_sleep(20)", interrupt=1, ok=lambda code, err: code != 0), 2),
            ("wrong tokens", lambda: self.psql("wrong tokens", "select 1", subject="hsd1_wrong", ok=lambda code, err: code == 2), 3),
            ("garbage", self.garbage, 0.5),
            ("idle", self.idle, 0),
            ("tail", self.tail, 1),
            ("reading", self.readers, 6),
            ("reload", self.reload, 20),
        ]
        for name, run, every in everything:
            self.start(name, run, every)

    def readers(self):
        for name, args in (("sessions", ("sessions", "--limit", "20", "-o", "json")), ("search", ("search", "insert into ledger", "--limit", "5")), ("show", ("show", "@last")),
                           ("play", ("play", "@last")), ("status", ("status",))):
            if self.stop.is_set():
                return
            self.hansard(name, *args)

    def reload(self):
        with contextlib.suppress(ProcessLookupError):
            self.g.process.send_signal(signal.SIGHUP)
        self.counts["reload"] = self.counts.get("reload", 0) + 1

    def kill(self):
        what = self.fate.choice([*ROLES, *ROLES, "gateway"])
        with self.lock:
            self.kills.append((time.monotonic(), what))
        if what == "gateway":
            children = list(self.g.children().values())
            for pid in (self.g.process.pid, *children):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self.g.process.wait()
            lab.wait_for(lambda: not any(os.path.exists(f"/proc/{p}") for p in children), "the children to exit")
            self.g.start()
        else:
            victim = self.g.children().get(what)
            if victim is None:
                return
            os.kill(victim, signal.SIGKILL)
            lab.wait_for(lambda: self.g.children().get(what) not in (None, victim), f"a new {what}", 120)
        lab.wait_for(lambda: self.g.psql("select 7", self.tokens["mixed"], check=False).stdout == "7\n", f"service after the kill of {what}", 120)
        with self.lock:
            self.kills.append((time.monotonic(), f"{what}, back"))
        say(f"killed {what}")

    def end(self):
        self.stop.set()
        with self.lock:
            running = list(self.running)
        for process in running:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
        for thread in self.threads:
            thread.join(300)


# --- the run ---


class Soak:
    def __init__(self, gateway, load):
        self.g, self.load = gateway, load
        self.lives = {}
        self.samples = []

    def pids(self):
        return {"supervisor": self.g.process.pid, **self.g.children()}

    def sample(self):
        now = time.monotonic() - began
        for role, pid in self.pids().items():
            self.lives.setdefault((role, pid), Life(role, pid)).sample(now)
        t = time.monotonic()
        served = self.g.psql("select 1", self.load.tokens["mixed"], check=False).returncode == 0
        took = time.monotonic() - t
        lag = None
        with contextlib.suppress(AssertionError, ValueError, KeyError):
            lag = json.loads(self.g.hansard("status", "-o", "json").stdout)["index"]["lag_ns"] / 1e9
        self.samples.append({"at": now, "login_s": took if served else None, "index_lag_s": lag, "store": store_bytes(self.g.store)})

    def run(self):
        end, next_kill, next_say = began + SECONDS, time.monotonic() + max(KILL_EVERY, 60), 0
        while time.monotonic() < end:
            self.sample()
            if time.monotonic() > next_say:
                next_say = time.monotonic() + max(60, SECONDS / 48)
                s = self.samples[-1]
                say(f"store {s['store'] >> 20} MiB, login {s['login_s'] or -1:.2f} s, index lag {s['index_lag_s'] or -1:.1f} s; " + "  ".join(
                    f"{role} {life.anon[-1]} KiB {life.fds[-1]} fd" for (role, pid), life in self.lives.items() if life.at and pid in self.pids().values()))
            if time.monotonic() > next_kill:
                self.load.kill()
                next_kill = time.monotonic() + KILL_EVERY
            time.sleep(SAMPLE_EVERY)

    def grown(self):
        """Prints a line for each life; returns what grew."""
        found = []
        warm = max(150.0, min(600.0, SECONDS / 10))  # so long a recorder fills its caches (2 to 25 MiB); what lives shorter is not judged
        for (role, pid), life in self.lives.items():
            for what, series, unit in (("anonymous memory", life.anon, "KiB"), ("descriptors", life.fds, "")):
                got = life.growth(series, warm) if life.at else None
                if got is None:
                    continue
                slope, by_slope, by_quarter, median = got
                slack = max(MEMORY_SLACK_KIB, MEMORY_SLACK * median) if unit else FD_SLACK
                bad = by_slope > slack and by_quarter > slack
                print(f"{role:10} {pid:8} {what:16} median {median:8.0f} {unit:3}  slope {slope:+9.1f}/h  grew {by_slope:+8.0f} by slope, {by_quarter:+8.0f} by quarters  over {life.at[-1] - life.at[0]:6.0f} s{'  GROWS' if bad else ''}")
                if unit:
                    print(f"{'':19} of it RSS {statistics.median(life.rss):.0f}, PSS {statistics.median(life.pss):.0f} KiB (medians); anonymous at the end {life.anon[-1]} KiB, most {max(life.anon)} KiB")
                if bad:
                    found.append(f"{what} of {role} grows: {by_slope:+.0f} {unit}")
        return found


def at_rest(gateway, before):
    """Descriptors after the load: those of the beginning, but for what a log and an index may hold."""
    def calm():
        now = {role: len(os.listdir(f"/proc/{pid}/fd")) for role, pid in {"supervisor": gateway.process.pid, **gateway.children()}.items()}
        return now if all(now[role] <= before[role] + FD_SLACK for role in before if role in now) else None
    try:
        now = lab.wait_for(calm, "descriptors to come down", 60)
    except AssertionError:
        now = {role: len(os.listdir(f"/proc/{pid}/fd")) for role, pid in gateway.children().items()}
        return [f"descriptors at rest: before {before}, after {now}"]
    print(f"descriptors at rest: before {before}, after {now}")
    return []


def lost(gateway, pg):
    """Rows of the ledger that are in the server and not in the record."""
    rows = set(pg.sql("shop", "select n from ledger").split())
    recorded, count = set(), 0
    for session in gateway.json("sessions", "--subject", "ledger", "--limit", "1000000"):
        count += 1
        with subprocess.Popen([gateway.binary, "export", "--config", str(gateway.config), session["id"], "--as", "ndjson"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as export:
            for line in export.stdout:
                found = re.search(r'"text":"insert into ledger values \((\d+)\)', line)
                if found:
                    recorded.add(found.group(1))
    missing = rows - recorded
    print(f"ledger: {len(rows)} rows in the server, {len(recorded)} statements in {count} sessions on the record, {len(missing)} rows without one")
    return [f"{len(missing)} rows of the ledger are not on the record, the first: {sorted(missing)[:3]}"] if missing else []


def verified(gateway, vkey):
    found = []
    for name, done in (("hansard verify", gateway.hansard("verify", "--vkey", vkey, check=False, timeout=36000)), ("hansard_verify.py", None)):
        if done is None:
            if store_bytes(gateway.store) > 4 << 30:
                print(f"{name}: left out, the store is over 4 GiB")
                continue
            done = lab.run(["/usr/bin/python3", lab.ROOT / "tests/verifier/hansard_verify.py", gateway.store, "--vkey", vkey], check=False, timeout=7200)
        print(f"{name}: {done.stdout.strip().splitlines()[-1] if done.stdout.strip() else done.stderr[-300:]}")
        if done.returncode != 0:
            found.append(f"{name} is not clean: {done.stdout[-600:]}")
    return found


def seconds_of(values):
    got = sorted(v for v in values if v is not None)
    return f"p50 {got[len(got) // 2]:.2f} s, p99 {got[len(got) * 99 // 100]:.2f} s, most {got[-1]:.2f} s" if got else "none"


def main():
    seed = int(os.environ.get("SOAK_SEED", time.time()))
    say(f"{SECONDS / 60:.0f} minutes, seed {seed}, a kill every {KILL_EVERY / 60:.1f} minutes, a sample every {SAMPLE_EVERY:.0f} s")
    problems = []
    with lab.Postgres(lab.short_dir("pg"), {"log_connections": "off"}) as pg:
        pg.sql("shop", "create table load(k int primary key, v int); insert into load select g, 0 from generate_series(1, 500) g; create table ledger(n bigint); grant all on load, ledger to app")
        gateway = lab.Gateway(lab.hansard_binary(), pg, session_max="30d")
        gateway.start()
        try:
            load = Load(gateway, seed)
            soak = Soak(gateway, load)
            vkey = gateway.json("status")["vkey"]
            gateway.psql("select 1", load.tokens["mixed"])
            before = {role: len(os.listdir(f"/proc/{pid}/fd")) for role, pid in soak.pids().items()}
            load.begin()
            soak.run()
            load.end()
            say("the load is over")
            print(", ".join(f"{k} {v}" for k, v in sorted(load.counts.items())))
            print(f"kills: {sum(1 for _, what in load.kills if not what.endswith('back'))}; login and statement: {seconds_of(s['login_s'] for s in soak.samples)}; "
                  f"index lag: {seconds_of(s['index_lag_s'] for s in soak.samples)}; store {soak.samples[-1]['store'] >> 20} MiB")
            problems += soak.grown()
            problems += at_rest(gateway, before)
            problems += [f"at {at:.0f} s {name}: {why}" for at, name, why in load.failures]
            problems += lost(gateway, pg)
            if gateway.stop(seconds=300) != 0:
                problems.append("the gateway did not end well")
            problems += verified(gateway, vkey)
        finally:
            gateway.stop(signal.SIGKILL)
            if problems:
                print(f"--- the end of the gateway's log ---\n{gateway.log_text()[-4000:]}")
            shutil.rmtree(gateway.dir, ignore_errors=True)
    for problem in problems:
        print(f"PROBLEM: {problem}")
    say("FAILED" if problems else "passed")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
