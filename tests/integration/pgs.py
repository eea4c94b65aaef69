"""PostgreSQL of other versions than the system's: servers 12, 16, 17 and 18, and libpq 18 by ctypes.

They come from the npm packages that tests/servers/package-lock.json pins. `npm ci` runs once, under a
lock, and installs into tests/servers/node_modules (not kept in git); scripts of packages do not run.
"""

import ctypes
import fcntl
import functools
import json
import pathlib
import shutil

import lab

DIR = lab.ROOT / "tests" / "servers"
VERSIONS = ("12", "16", "17", "18")


def links(native):
    """npm packs no symbolic links: the package lists them, relative to its own directory."""
    for link in json.loads((native / "pg-symlinks.json").read_text()):
        target = native.parent / link["target"]
        if not target.is_symlink():
            target.symlink_to(pathlib.Path(link["source"]).name)


@functools.cache
def install():
    with open(DIR / "package-lock.json", "rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        stamp = DIR / "node_modules" / ".stamp"
        if not stamp.exists() or stamp.read_bytes() != lock.read():
            if shutil.which("npm") is None:
                raise RuntimeError("npm is not installed: make deps")
            lab.run(["npm", "ci", "--ignore-scripts"], cwd=DIR, timeout=600)
            for version in VERSIONS:
                links(native(version))
            lock.seek(0)
            stamp.write_bytes(lock.read())


def native(version):
    return DIR / "node_modules" / f"pg{version}" / "native"


def server(version, settings=None):
    """A lab.Postgres of that version; "15" is the system's."""
    if version == "15":
        return lab.Postgres(lab.short_dir("pg15"), settings)
    install()
    return lab.Postgres(lab.short_dir(f"pg{version}"), settings, bindir=native(version) / "bin")


# --- libpq ---

OK, COMMANDS = 0, (1, 2)
COPY_BOTH = 8


class Libpq:
    """libpq.so.5 of version 18 (or, with system=True, the system's)."""

    def __init__(self, system=False):
        if system:
            self.c = ctypes.CDLL("libpq.so.5")
        else:
            install()
            self.c = ctypes.CDLL(str(native("18") / "lib" / "libpq.so.5"))
        text = ("PQerrorMessage", "PQresultErrorMessage", "PQgetvalue", "PQparameterStatus", "PQresultErrorField")
        for name in text:
            getattr(self.c, name).restype = ctypes.c_char_p
        for name in ("PQconnectdb", "PQexec", "PQgetResult", "PQgetCancel", "PQcancelCreate", "PQconnectStart"):
            if hasattr(self.c, name):
                getattr(self.c, name).restype = ctypes.c_void_p

    def connect(self, conninfo):
        return Connection(self.c, conninfo)


class Connection:
    def __init__(self, c, conninfo):
        self.c = c
        self.p = ctypes.c_void_p(c.PQconnectdb(conninfo.encode()))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.c.PQfinish(self.p)

    @property
    def is_open(self):
        return self.c.PQstatus(self.p) == OK

    @property
    def error(self):
        return self.c.PQerrorMessage(self.p).decode(errors="replace")

    @property
    def full_version(self):
        """30002 for protocol 3.2."""
        return self.c.PQfullProtocolVersion(self.p)

    def status(self, name):
        value = self.c.PQparameterStatus(self.p, name.encode())
        return value.decode() if value is not None else None

    def send(self, sql):
        assert self.c.PQsendQuery(self.p, sql.encode()) == 1, self.error

    def result(self):
        """(status, error text, rows) of the next result; None behind the last."""
        r = self.c.PQgetResult(self.p)
        return None if not r else self._take(ctypes.c_void_p(r))

    def ask(self, sql):
        """Rows of one statement; AssertionError with the server's words."""
        status, error, rows = self._take(ctypes.c_void_p(self.c.PQexec(self.p, sql.encode())))
        assert status in COMMANDS, error
        return rows

    def _take(self, r):
        status = self.c.PQresultStatus(r)
        error = self.c.PQresultErrorMessage(r).decode(errors="replace")
        rows = [[self.c.PQgetvalue(r, i, k).decode(errors="replace") for k in range(self.c.PQnfields(r))] for i in range(self.c.PQntuples(r))]
        self.c.PQclear(r)
        return status, error, rows

    def cancel(self):
        """Through a second connection with this one's own settings (TLS too, from libpq 17 on)."""
        cancel = ctypes.c_void_p(self.c.PQcancelCreate(self.p))
        done = self.c.PQcancelBlocking(cancel)
        self.c.PQcancelFinish(cancel)
        assert done == 1
