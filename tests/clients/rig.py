"""Runs one client's program directly and through the gateway and compares: results, wire, record.

A Bench is a PostgreSQL of one version, a gateway in front of it, and a tee on either side of the
gateway (tests/integration/tee.py), so that what the client and the server saw is known apart from
what the gateway says. SPEC.md tells what the programs do.
"""

import json
import os
import pathlib
import re
import struct
import subprocess

import lab
import npm
import pgs
import tee
import test_oracle

DIR = pathlib.Path(__file__).parent
LONG = bool(os.environ.get("HANSARD_LONG"))
LARGE = 100 << 20 if LONG else 8 << 20  # of a value; 1 MiB on the versions that only few clients try
STEPS = {s["step"]: s for s in json.loads((DIR / "steps.json").read_text())}
CANCEL = struct.pack("!i", 80877102)
SECONDS = 900 if LONG else 120


class Bench:
    def __init__(self, version):
        binary = lab.hansard_binary()
        self.large = LARGE if LONG or version == "15" else 1 << 20
        self.pg = pgs.server(version)
        self.pg.__enter__()
        self.server_side = tee.Tee(("127.0.0.1", self.pg.port))
        self.gateway = lab.Gateway(binary, self.pg, address=f"127.0.0.1:{self.server_side.port}", tls="disable")
        try:
            self.gateway.start()
        except BaseException:
            self.close()
            raise
        self.client_side = tee.Tee(("127.0.0.1", self.gateway.port), cafile=self.gateway.store / "ca.pem")
        self.token = self.gateway.token()

    def close(self):
        self.gateway.stop()
        self.gateway.remove()
        self.server_side.close()
        self.pg.__exit__()

    def environment(self, port, user, password, **extra):
        return {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), "LC_ALL": "C.UTF-8", "PGHOST": "127.0.0.1", "PGPORT": str(port), "PGUSER": user,
                "PGPASSWORD": password, "PGDATABASE": "shop", "PGSSLMODE": "disable", "HSD_LARGE": str(self.large), **extra}

    def direct(self):
        return self.environment(self.pg.port, "app", self.pg.passwords["app"])

    def teed(self):
        return self.environment(self.client_side.port, "shop", self.token)

    def by_tls(self):
        return self.environment(self.gateway.port, "shop", self.token, PGSSLMODE="verify-full", PGSSLROOTCERT=str(self.gateway.store / "ca.pem"), HSD_STEPS="text")

    def sessions(self):
        return {s["id"]: s for s in self.gateway.json("sessions")}

    def record_of(self, run):
        """run() between the tees; then every session of it is compared with the wire. Returns the texts of its commands, and what the client said."""
        before = self.sessions()
        self.client_side.conversations.clear()
        self.server_side.conversations.clear()
        run()
        talks = [[t for t in side.conversations if ended(t) and CANCEL not in t.up[:16]] for side in (self.client_side, self.server_side)]
        assert len(talks[0]) == len(talks[1]) > 0

        def closed():
            new = [s for s in self.sessions().values() if s["id"] not in before]
            return new if len(new) == len(talks[0]) and not any(s["open"] for s in new) else None

        text, bytes_said = [], b""
        for session in lab.wait_for(closed, "the sessions to close"):
            streams = test_oracle.Streams(self.events(session["id"]))
            self.compare(streams, *talks)
            bytes_said += streams.bytes["C"]
            text += [c.get("text") or "" for c in self.lines(session["id"]) if c["type"] == "command"]
        assert talks == [[], []]
        return "\n".join(text).lower(), bytes_said.decode(errors="replace").lower()

    def lines(self, session, *args):
        with subprocess.Popen([self.gateway.binary, "export", "--config", self.gateway.config, session, "--as", "ndjson", *args], stdout=subprocess.PIPE) as export:
            for line in export.stdout:
                yield json.loads(line)
        assert export.returncode == 0

    def events(self, session):
        return (x for x in self.lines(session, "--events") if x["type"] == "event")

    def compare(self, got, clients, servers):
        """The session is one of the conversations, whole; which, its bytes say."""
        for streams, talks in (("CR", clients), ("UT", servers)):
            sizes = tuple(len(got.bytes[s]) for s in streams)
            up, down = streams
            same = [t for t in talks if (len(t.up), len(t.down)) == sizes and got.matches(up, t.up) and got.matches(down, t.down)]
            assert same, f"{streams}: the record has {sizes} bytes, the wire {[(len(t.up), len(t.down)) for t in talks]}"
            talks.remove(same[0])
        # Nothing but credentials is left out.
        hidden = sum(length for holes in got.holes.values() for _, length in holes)
        assert hidden < 2048, got.holes
        for s in "CURT":
            assert self.token.encode() not in got.bytes[s]


def ended(talk):
    assert talk.done.wait(lab.WAIT), "a connection stays open"
    return True


def script(command, environment):
    """The program's lines: step → what it printed."""
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=SECONDS, check=False)
    lines = done.stdout.decode().splitlines()
    assert done.returncode == 0, f"{command} ended with {done.returncode} behind {lines[-1:]}: {done.stderr.decode(errors='replace')[-2000:]}"
    return {line["step"]: line for line in map(json.loads, lines)}


def expected(step, size):
    large = {"large_out": ["1", None], "large_in": [[str(size), None]]}
    return large.get(step, STEPS[step].get("expect"))


def agrees(got, want):
    """want's None matches anything where a digest stands."""
    if isinstance(want, list) and isinstance(got, list) and len(got) == len(want):
        return all(w is None or agrees(g, w) for g, w in zip(got, want))
    return want is None or got == want


def statements(line):
    """What must stand in the record for this step: the comment of each statement, or the statement."""
    if "said" in line:
        return [line["said"]]
    sql = STEPS[line["step"]]["sql"]
    return [(re.search(r"/\*.*?\*/", s) or [s])[0] for s in ([sql] if isinstance(sql, str) else sql)]


def check(bench, command, without=(), differs=(), parsed=()):
    """Everything SPEC.md says about one client on one server.

    without: ops that it has no means for; differs: steps with a result of its own (its program says
    why); parsed: steps whose failing statements end at Parse, so that they are no commands (session/proto.h)
    and stand in the bytes of the record only.
    """
    direct = script(command, bench.direct())
    absent = {name for name, step in STEPS.items() if step["op"] in without or step.get("needs") in without}
    assert set(STEPS) - set(direct) == absent
    wrong = {name: line["result"] for name, line in direct.items() if name not in differs and not agrees(line["result"], expected(name, bench.large))}
    assert not wrong, "without the gateway"
    through = {}
    commands, said = bench.record_of(lambda: through.update(script(command, bench.teed())))
    assert list(through) == list(direct)
    assert {name: (line, through[name]) for name, line in direct.items() if line != through[name]} == {}
    missing = [s for line in through.values() for s in statements(line) if s.lower() not in (said if line["step"] in parsed else commands)]
    assert not missing, "not among what export prints"
    assert script(command, bench.by_tls()) == {"text": direct["text"]}


def node(program):
    npm.install(DIR)
    return ["node", str(DIR / "drivers" / program)]


def python(program, interpreter="/usr/bin/python3"):
    return [str(interpreter), str(DIR / "drivers" / program)]
