"""Clients of other registries (make check-clients): fetched by each language's own tool, from wherever it is set up to fetch.

Versions are pinned beside the programs; what cannot be fetched or built because the tool is missing or
reaches nothing is skipped with that reason.
"""

import functools
import os
import shutil

import lab
import pytest
import rig

WORK = lab.ROOT / "build" / "clients"
DRIVERS = rig.DIR / "drivers"
STEPS = str(rig.DIR / "steps.json")
UNREACHABLE = ("Could not resolve", "Temporary failure", "Connection refused", "Network is unreachable", "timed out", "dial tcp", "Connection reset",
               "Could not transfer artifact", "No matching distribution", "failed to download", "spurious network error", "i/o timeout")


def tool(name, *others):
    for one in (name, *others):
        if shutil.which(one) is None:
            pytest.skip(f"{one} is not installed")


def fetch(args, **kw):
    """Runs a language's tool; a registry that is not reached is a reason to skip, anything else a failure."""
    done = lab.run(args, check=False, timeout=900, **kw)
    said = done.stdout + done.stderr
    if done.returncode != 0 and any(text in said for text in UNREACHABLE):
        pytest.skip(f"{args[0]} reaches no registry: {said.strip().splitlines()[-1][:150]}")
    assert done.returncode == 0, said[-3000:]
    return done.stdout


@functools.cache
def venv():
    path = WORK / "venv"
    if not (path / "bin" / "pip").exists() and lab.run(["python3", "-m", "venv", path], check=False).returncode != 0:
        pytest.skip("python3 has no venv with pip")
    fetch([path / "bin" / "pip", "install", "--quiet", "--disable-pip-version-check", "-r", DRIVERS / "requirements.txt"])
    return path / "bin" / "python"


@functools.cache
def go():
    tool("go")
    out = WORK / "go"
    out.mkdir(parents=True, exist_ok=True)
    fetch(["go", "build", "-o", f"{out}/", "./..."], cwd=DRIVERS / "go")
    return out


def rust():
    tool("cargo")
    source = WORK / "rust-source"
    # The lock file that cargo writes names its registry: it stays out of the repository.
    shutil.copytree(DRIVERS / "rust", source, dirs_exist_ok=True)
    fetch(["cargo", "build", "--release", "--quiet"], cwd=source, env={**os.environ, "CARGO_TARGET_DIR": str(WORK / "rust")})
    return [str(WORK / "rust" / "release" / "tokio-clients"), STEPS]


def java():
    tool("mvn", "javac", "java")
    out = WORK / "java"
    out.mkdir(parents=True, exist_ok=True)
    fetch(["mvn", "-q", "-B", "dependency:build-classpath", f"-Dmdep.outputFile={out}/classpath"], cwd=DRIVERS / "java")
    path = (out / "classpath").read_text().strip()
    lab.run(["javac", "-cp", path, "-d", out, DRIVERS / "java/src/main/java/Main.java"])
    return ["java", "-Xmx2g", "-cp", f"{path}:{out}", "Main", STEPS]


CLIENTS = {
    "psycopg3": (lambda: rig.python("run_psycopg3.py", venv()), {}),
    "asyncpg": (lambda: rig.python("run_asyncpg.py", venv()), {"without": {"pipeline"}, "parsed": {"error", "aborted"}}),
    "pg8000": (lambda: rig.python("run_pg8000.py", venv()), {"without": {"pipeline", "cancel", "cursor", "autosave"}}),
    "pgx": (lambda: [str(go() / "pgx"), STEPS], {"parsed": {"error", "aborted"}}),
    "lib-pq": (lambda: [str(go() / "pq"), STEPS], {"without": {"pipeline", "copy_out", "cursor", "autosave"}}),
    "tokio-postgres": (rust, {}),
    "pgjdbc": (java, {"without": {"pipeline"}, "parsed": {"error", "aborted"}}),
}


@pytest.mark.limit(2400 if rig.LONG else 900)
@pytest.mark.parametrize("version", ("15", "12", "16", "17", "18") if rig.LONG else ("15", "18"))
@pytest.mark.parametrize("client", CLIENTS)
def test_client(bench, client, version):
    command, facts = CLIENTS[client]
    rig.check(bench(version), command(), **facts)
