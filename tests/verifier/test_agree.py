"""The two verifiers agree: `hansard verify` and hansard_verify.py come to the same verdict.

Two programs that share nothing but docs/record-format.md look at the same stores: those of
hansard-teststore, those that the crash test leaves after a cut of the power and after recovery, and
those of a real gateway that was killed; each as it is and tampered with. Verdicts are ok,
unverifiable or tampered. Where they differ, one of the three (C, Python, document) is wrong.
"""

import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys

import pytest

import hansard_verify as hv
from test_verifier import build_directory, setup_module, teardown_module  # noqa: F401 (pytest runs them)

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "integration"))

import lab  # noqa: E402

SEEDS = range(1, 400 if os.environ.get("HANSARD_LONG") else 13)
CLASSES = {0: "ok", 3: "unverifiable", 4: "tampered"}


def program(name):
    for root, _, names in os.walk(build_directory()):
        if name in names and os.access(os.path.join(root, name), os.X_OK) \
                and os.path.isfile(os.path.join(root, name)):
            return os.path.join(root, name)
    pytest.skip("%s is not in %s (HANSARD_BUILD)" % (name, build_directory()))


def verdicts(store):
    """(C's verdict, Python's), and what each said."""
    done = subprocess.run([program("hansard"), "verify", "--store", str(store), "-o", "json"],
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    try:
        report = hv.check_store(hv.open_store(str(store)))
    except hv.Cannot as why:  # a store in which nothing was written yet
        return (done.returncode, 1), (done.stdout.decode(), str(why))
    said = "\n".join(str(f) for f in report.findings)
    return tuple(CLASSES.get(x, x) for x in (done.returncode, report.exit_status())), (done.stdout.decode(), said)


def agree(store, what):
    (c, python), said = verdicts(store)
    assert c == python, "%s\nhansard: %s\n%s\nhansard_verify.py: %s\n%s" % (what, c, said[0], python, said[1])
    return c


# -- tampering: one change of a store on disk at a time ----------------------------------------------


def rewrite(path, data):
    path.write_bytes(data)


def cut_places(data):
    """Where frames begin, and the end."""
    at, out = 0, []
    while at + 164 <= len(data) and data[at:at + 4] == hv.FRAME_MAGIC_BYTES:
        out.append(at)
        at += 164 + int.from_bytes(data[at + 12:at + 16], "little")
    return [*out, len(data)]


def changes(path, rng):
    """(what, new bytes or None) for one file."""
    data = path.read_bytes()
    used = len(data.rstrip(b"\0"))
    for _ in range(6 if used else 0):
        at = rng.randrange(used)
        yield "byte %d changed" % at, data[:at] + bytes([data[at] ^ 1 << rng.randrange(8)]) + data[at + 1:]
    cut = rng.randrange(len(data) + 1)
    yield "cut at %d" % cut, data[:cut]
    yield "removed", None
    if path.suffix == ".rec":
        places = cut_places(data)
        if len(places) > 2:
            i = rng.randrange(len(places) - 2)
            a, b, c = places[i:i + 3]
            yield "frame %d removed" % i, data[:a] + data[b:]
            yield "frames %d swapped" % i, data[:a] + data[b:c] + data[a:b] + data[c:]
            yield "frame %d doubled" % i, data[:b] + data[a:]
        yield "cut at frame", data[:rng.choice(places)]
        yield "zeros from %d" % cut, data[:cut] + bytes(len(data) - cut)
        yield "a byte more", data + b"\0"
    if path.suffix == ".seg" and used > 8192:
        at = rng.randrange(4096, used, 4096)
        yield "block %d wiped" % at, data[:at] + bytes(4096) + data[at + 4096:]
        yield "block %d moved" % at, data[:at] + bytes(4096) + data[at:-4096]


def tampered(store, rng, most=10 ** 9):
    """Each change in turn; the file is as before afterwards."""
    record = pathlib.Path(store) / "record" if (pathlib.Path(store) / "record").is_dir() else pathlib.Path(store)
    paths = sorted(p for p in record.rglob("*") if p.is_file() and not p.name.endswith(".tmp"))
    found = {}
    tried = 0
    rng.shuffle(paths)
    for path in paths:
        before = path.read_bytes()
        for what, new in changes(path, rng):
            if tried == most:
                return found
            tried += 1
            if new is None:
                path.unlink()
            else:
                rewrite(path, new)
            verdict = agree(store, "%s: %s: %s" % (store, path.relative_to(record), what))
            found[verdict] = found.get(verdict, 0) + 1
            rewrite(path, before)
    return found


@pytest.mark.limit(900)
@pytest.mark.parametrize("kind", ["standard", "long"])
def test_test_stores(tmp_path, kind):
    store = tmp_path / "store"
    subprocess.run([program("hansard-teststore"), str(store), kind], check=True, stdout=subprocess.DEVNULL)
    assert agree(store, kind) == "ok"
    found = tampered(store, random.Random(1))
    assert found["tampered"] > 50, found


@pytest.mark.limit(900)
def test_crashed_stores(tmp_path):
    """Power cuts and what recovery makes of them: neither calls any of it tampered."""
    count = 0
    for seed in SEEDS:
        top = tmp_path / str(seed)
        top.mkdir()
        subprocess.run([program("crash_test"), "=%d" % seed], check=True, stdout=subprocess.DEVNULL,
                       env={**os.environ, "CRASH_DUMP": str(top), "CRASH_FLIPS": "0"})
        for store in sorted(top.iterdir()):
            if any((store / "record").iterdir()):
                assert agree(store, str(store)) != "tampered", store
                count += 1
        shutil.rmtree(top)
    assert count > 2 * len(SEEDS)


@pytest.mark.limit(900)
def test_crashed_stores_tampered_with(tmp_path):
    subprocess.run([program("crash_test"), "=2"], check=True, stdout=subprocess.DEVNULL,
                   env={**os.environ, "CRASH_DUMP": str(tmp_path), "CRASH_FLIPS": "0"})
    for name in ("2-0", "2-end", "2-calm"):
        found = tampered(tmp_path / name, random.Random(name), 250)
        assert found.get("tampered", 0) > 50, found


# -- a real gateway ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    """A gateway killed with all its processes under an open session: its store right then, after the
    next boot, and after an orderly stop."""
    try:
        lab.pg_bin()
    except RuntimeError as why:
        pytest.skip(str(why))
    top = tmp_path_factory.mktemp("killed")
    with lab.Postgres(lab.short_dir("pg")) as pg:
        gateway = lab.Gateway(program("hansard"), pg)
        try:
            gateway.start()
            for i in range(3):
                gateway.psql("select %d, repeat('x', 3000) from generate_series(1, 20)" % i)
            client = subprocess.Popen(["psql", gateway.conninfo(), "-XAtq"], stdin=subprocess.PIPE,
                                      stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
                                      env={**os.environ, "PGPASSWORD": gateway.token()})
            client.stdin.write("select 'open';\n")
            client.stdin.flush()
            assert client.stdout.readline() == "open\n"
            children = gateway.children()
            for pid in [gateway.process.pid, *children.values()]:
                os.kill(pid, signal.SIGKILL)
            gateway.process.wait()
            lab.wait_for(lambda: not any(os.path.exists(f"/proc/{p}") for p in children.values()), "the children to exit")
            client.communicate()
            stores = {"killed": gateway.copy_store()}
            gateway.start()
            gateway.psql("select 'after'")
            gateway.stop()
            stores["stopped"] = gateway.copy_store()
            for name, path in stores.items():
                shutil.copytree(path / "record", top / name / "record")
                shutil.rmtree(path.parent)
        finally:
            gateway.stop()
            gateway.remove()
    return top


@pytest.mark.limit(300)
@pytest.mark.parametrize("name", ["killed", "stopped"])
def test_gateway_stores(killed, name):
    verdict = agree(killed / name, name)
    assert verdict in (("ok", "unverifiable") if name == "killed" else ("ok",)), verdict


@pytest.mark.limit(900)
@pytest.mark.parametrize("name", ["killed", "stopped"])
def test_gateway_stores_tampered_with(killed, tmp_path, name):
    store = tmp_path / name
    shutil.copytree(killed / name, store)
    # Each costs half a second: segments are large.
    found = tampered(store, random.Random(name), 400 if os.environ.get("HANSARD_LONG") else 40)
    assert found.get("tampered", 0) > 10, found
