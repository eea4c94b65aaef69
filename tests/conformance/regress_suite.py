"""PostgreSQL's own regression suite, fetched as Debian source and run against any host and port.

The SQL comes from Debian's source package (a deb-src list of our own, so the machine's lists stay as
they are), pg_regress from postgresql-server-dev, regress.so is compiled from the suite's regress.c.
"""

import os
import pathlib
import re
import shutil
import subprocess

import lab

CACHE = lab.ROOT / "build" / "conformance"


def _apt(*args, **kw):
    etc, lists = CACHE / "apt-etc", CACHE / "apt-lists"
    options = ["-o", "Dir::Etc::sourcelist=/dev/null", "-o", f"Dir::Etc::sourceparts={etc}", "-o", f"Dir::State::lists={lists}", "-o", "APT::Sandbox::User=root"]
    return lab.run([args[0], *options, *args[1:]], timeout=300, **kw)


def _write_source_list():
    """The machine's own Debian archives, as deb-src."""
    etc = CACHE / "apt-etc"
    etc.mkdir(parents=True, exist_ok=True)
    (CACHE / "apt-lists" / "partial").mkdir(parents=True, exist_ok=True)
    stanzas, lines = [], []
    apt = pathlib.Path("/etc/apt")
    for path in apt.glob("sources.list.d/*.sources"):
        for stanza in path.read_text().split("\n\n"):
            if re.search(r"^URIs:.*debian", stanza, re.M):
                stanzas.append(re.sub(r"^Types:.*$", "Types: deb-src", stanza, flags=re.M))
    for path in [apt / "sources.list", *apt.glob("sources.list.d/*.list")]:
        if path.exists():
            lines += [re.sub(r"^deb\s", "deb-src ", line) for line in path.read_text().splitlines() if re.match(r"deb\s.*debian", line)]
    (etc / "src.sources").write_text("\n\n".join(stanzas) + "\n")
    (etc / "src.list").write_text("\n".join(lines) + "\n")


def source(major="15"):
    """The unpacked src/test/regress (cached in the build directory). RuntimeError when it cannot be had."""
    target = CACHE / f"regress-{major}"
    if (target / "parallel_schedule").exists():
        return target
    _write_source_list()
    _apt("apt-get", "update")
    shown = _apt("apt-cache", "showsrc", f"postgresql-{major}").stdout
    versions = sorted(set(re.findall(r"^Version: (\S+)", shown, re.M)), reverse=True)
    work = CACHE / "src"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    for version in versions:
        if _apt("apt-get", "source", "--download-only", f"postgresql-{major}={version}", check=False, cwd=work).returncode == 0:
            break
    else:
        raise RuntimeError(f"no source package of postgresql-{major} could be fetched (tried {versions})")
    archive = next(work.glob("*.orig.tar.*"))
    lab.run(["tar", "-xf", archive, "-C", work, "--wildcards", "*/src/test/regress/*", "*/src/test/modules/libpq_pipeline/*"])
    tree = next(work.glob("postgresql-*/src/test/regress"))
    shutil.move(str(tree), target)
    pipeline = next(work.glob("postgresql-*/src/test/modules/libpq_pipeline"), None)
    if pipeline:
        shutil.rmtree(CACHE / "libpq_pipeline", ignore_errors=True)
        shutil.move(str(pipeline), CACHE / "libpq_pipeline")
    return target


def staged(major="15"):
    """A copy that the server's own user can read: the checkout may lie below a private directory."""
    kept = source(major)
    target = lab.short_dir("suite") / "regress"
    shutil.copytree(kept, target)
    lab.run(["chmod", "-R", "a+rX", target])
    return target


def build(suite, major="15"):
    config = f"/usr/lib/postgresql/{major}/bin/pg_config"
    library = suite / "regress.so"
    if not library.exists():
        include = lab.run([config, "--includedir-server"]).stdout.strip()
        lab.run(["gcc", "-O1", "-fPIC", "-shared", "-w", f"-I{include}", f"-I{lab.run([config, '--includedir']).stdout.strip()}", "-o", library, suite / "regress.c"])
    pgxs = pathlib.Path(lab.run([config, "--pgxs"]).stdout.strip())
    return pgxs.parent.parent / "test" / "regress" / "pg_regress"


def schedule_tests(suite):
    tests = []
    for line in (suite / "parallel_schedule").read_text().splitlines():
        if line.startswith("test:"):
            tests += line[5:].split()
    return tests


class Run:
    def __init__(self, suite, pg_regress, outdir, host, port, user, env, dbname="regression"):
        self.suite, self.pg_regress, self.out = suite, pg_regress, pathlib.Path(outdir)
        self.host, self.port, self.user, self.env, self.dbname = host, str(port), user, env, dbname
        self.out.mkdir(parents=True, exist_ok=True)
        if os.geteuid() == 0:
            # The server writes COPY files there.
            self.out.chmod(0o777)
        for name in ("results", "sql", "expected", "testtablespace"):
            (self.out / name).mkdir(exist_ok=True)
            (self.out / name).chmod(0o777)

    def run(self, tests=None, use_existing=False):
        command = [self.pg_regress, f"--inputdir={self.suite}", f"--outputdir={self.out}", f"--bindir={lab.pg_bin()}", f"--dlpath={self.suite}",
                   f"--host={self.host}", f"--port={self.port}", f"--user={self.user}", f"--dbname={self.dbname}", "--max-concurrent-tests=20"]
        if use_existing:
            command.append("--use-existing")
        command += tests if tests else [f"--schedule={self.suite / 'parallel_schedule'}"]
        env = {"PATH": os.environ["PATH"], "LC_ALL": "C", **self.env}
        with open(self.out / "log", "ab") as log:
            subprocess.run([str(c) for c in command], stdout=log, stderr=log, env=env, timeout=1200, cwd=self.out)

    def result(self, test):
        path = self.out / "results" / f"{test}.out"
        return path.read_bytes() if path.exists() else None
