"""The laboratory: PostgreSQL servers, gateways, tees and clients for the integration tests.

Everything listens on loopback, on ports that the kernel chose, in temporary directories that are
removed afterwards. Nothing sleeps where a condition can be waited for.
"""

import contextlib
import json
import os
import pathlib
import pwd
import re
import secrets
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
WAIT = float(os.environ.get("HANSARD_TEST_WAIT", "30"))


def hansard_binary():
    path = pathlib.Path(os.environ.get("HANSARD_BUILD", ROOT / "build")) / "hansard"
    if not path.exists():
        raise RuntimeError(f"{path} is not there: run make first")
    return str(path.resolve())


def short_dir(name):
    """A directory with a short path (Unix sockets allow 107 bytes) that another user may enter."""
    path = pathlib.Path(tempfile.mkdtemp(prefix=f"hsd-{name}-"))
    path.chmod(0o755)
    return path


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_for(condition, what, seconds=WAIT):
    """Polls a cheap condition; returns its value. For conditions that nothing announces."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"waited {seconds} s for {what}")
        time.sleep(0.02)


def is_running(pid):
    """False for a process that is gone, and for one that is dead and only not yet waited for."""
    try:
        return (pathlib.Path("/proc") / str(pid) / "stat").read_text().rsplit(") ", 1)[1][0] not in "ZX"
    except OSError:
        return False


def run(args, check=True, timeout=120, **kw):
    """subprocess.run with captured text; a failure shows both streams."""
    done = subprocess.run([str(a) for a in args], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          timeout=timeout, errors="replace", **kw)
    if check and done.returncode != 0:
        raise AssertionError(f"{args} exited {done.returncode}\n--- stdout\n{done.stdout}\n--- stderr\n{done.stderr}")
    return done


def pg_bin():
    for version in ("15", "17", "16"):
        path = pathlib.Path(f"/usr/lib/postgresql/{version}/bin")
        if (path / "initdb").exists():
            return path
    raise RuntimeError("no PostgreSQL server is installed: make deps")


def make_ca(directory, name):
    """A private CA and a leaf for localhost, made with the openssl command."""
    d = pathlib.Path(directory)
    ca_key, ca, key, csr, cert, ext = (d / f"{name}-{x}" for x in ("ca.key", "ca.pem", "key.pem", "csr.pem", "cert.pem", "ext"))
    run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", ca_key, "-out", ca,
         "-days", "30", "-subj", f"/CN={name} test CA"])
    run(["openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", key, "-out", csr, "-subj", "/CN=localhost"])
    ext.write_text("subjectAltName=DNS:localhost,IP:127.0.0.1,IP:0:0:0:0:0:0:0:1\n")
    run(["openssl", "x509", "-req", "-in", csr, "-CA", ca, "-CAkey", ca_key, "-CAcreateserial", "-days", "30", "-extfile", ext, "-out", cert])
    return ca, cert, key


class Postgres:
    """A PostgreSQL cluster of its own. As root it runs as the user postgres."""

    SUPER = "postgres"

    def __init__(self, directory, settings=None, bindir=None):
        self.bindir = bindir or pg_bin()
        self.dir = pathlib.Path(directory)
        self.data = self.dir / "data"
        self.port = free_port()
        self.settings = settings or {}
        self.passwords = {name: secrets.token_hex(12) for name in ("app", "app_ro", "app_md5", "app_clear", "app_super")}

    def as_server_user(self, args):
        if os.geteuid() != 0:
            return args
        return ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", "--", *args]

    def __enter__(self):
        try:
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def start(self):
        ca, cert, key = make_ca(self.dir, "pg")
        self.ca = ca
        if os.geteuid() == 0:
            owner = pwd.getpwnam("postgres")
            os.chown(self.dir, owner.pw_uid, owner.pw_gid)
            for path in (cert, key):
                os.chown(path, owner.pw_uid, owner.pw_gid)
        key.chmod(0o600)
        bindir = self.bindir
        run(self.as_server_user([bindir / "initdb", "-D", self.data, "-U", self.SUPER, "-A", "trust", "-E", "UTF8", "--no-locale", "-N"]), cwd="/")
        (self.data / "pg_hba.conf").write_text(
            "local all all trust\n"
            "hostssl all app,app_ro,app_super all scram-sha-256\n"
            "hostnossl all app,app_ro,app_super all scram-sha-256\n"
            "host all app_md5 all md5\n"
            "host all app_clear all password\n"
            "host all all all trust\n"
            "host replication all all trust\n")
        conf = {"port": self.port, "listen_addresses": "'127.0.0.1,::1'", "unix_socket_directories": f"'{self.dir}'", "ssl": "on",
                "ssl_cert_file": f"'{cert}'", "ssl_key_file": f"'{key}'", "fsync": "off", "max_connections": 200,
                "log_connections": "on", "log_line_prefix": "'%m [%p] %q%u@%d/%a '", "wal_level": "replica", **self.settings}
        with open(self.data / "postgresql.conf", "a", encoding="utf-8") as f:
            f.writelines(f"{k} = {v}\n" for k, v in conf.items())
        run(self.as_server_user([bindir / "pg_ctl", "-D", self.data, "-l", self.dir / "log", "-w", "-t", "60", "start"]), cwd="/")
        sql = []
        for name, password in self.passwords.items():
            encryption = "md5" if name == "app_md5" else "scram-sha-256"
            extra = "superuser" if name == "app_super" else ""
            sql.append(f"set password_encryption='{encryption}'; create role {name} login {extra} password '{password}';")
        sql.append("create role app_trust login;")
        self.sql("postgres", " ".join(sql))
        self.sql("postgres", "create database shop owner app")
        self.sql("shop", "create table orders(id int primary key, item text, qty int); insert into orders select g, 'item ' || g, g % 7 from generate_series(1, 100) g;"
                         " alter table orders owner to app; grant select on orders to app_ro; grant all on schema public to app, app_md5, app_clear, app_trust;"
                         " grant all on orders to app_md5, app_clear, app_trust;")

    def sql(self, database, text):
        """Runs SQL directly as superuser, past the gateway; returns unaligned rows."""
        return run(["psql", "-h", self.dir, "-p", str(self.port), "-U", self.SUPER, "-d", database, "-XAtq", "-v", "ON_ERROR_STOP=1", "-c", text]).stdout

    def stop(self, mode="immediate"):
        run(self.as_server_user([self.bindir / "pg_ctl", "-D", self.data, "-m", mode, "-w", "stop"]), check=False, cwd="/")

    def __exit__(self, *_):
        self.stop()
        shutil.rmtree(self.dir, ignore_errors=True)


class Gateway:
    """`hansard serve` with a configuration in front of a Postgres."""

    def __init__(self, binary, pg, *, connections=None, gateway=None, env=None, tls="verify-full", durable="before-forward", hygiene="pinned",
                 address=None, roles=None, allow=None, args=(), directory=None, session_max="8h"):
        self.binary = binary
        self.pg = pg
        self.dir = pathlib.Path(directory) if directory else short_dir("gw")
        self.store = self.dir / "data"
        self.port = free_port()
        self.env = dict(env or {})
        self.args = list(args)
        self.process = None
        self.lines = []
        self.events = []
        self._cond = threading.Condition()
        secret_file = self.dir / "ro.secret"
        secret_file.write_text(pg.passwords["app_ro"] + "\n")
        secret_file.chmod(0o600)
        for name in ("app", "app_md5", "app_clear", "app_super"):
            self.env.setdefault(f"PW_{name.upper()}", pg.passwords[name])
        shop = {
            "protocol": "postgres",
            "address": address or f"127.0.0.1:{pg.port}",
            "databases": {"default": "shop", "allow": allow or ["shop", "postgres"]},
            "tls": {"mode": tls, **({"ca": str(pg.ca)} if tls.startswith("verify") else {})},
            "roles": roles or {
                "default": {"user": "app", "password": {"env": "PW_APP"}},
                "ro": {"user": "app_ro", "auth": "scram-sha-256", "password": {"file": str(secret_file)}},
                "super": {"user": "app_super", "password": {"env": "PW_APP_SUPER"}},
                "md5": {"user": "app_md5", "auth": "md5", "password": {"env": "PW_APP_MD5"}},
                "clear": {"user": "app_clear", "auth": "password", "password": {"env": "PW_APP_CLEAR"}},
                "trust": {"user": "app_trust", "auth": "trust"},
            },
            "record": {"durable": durable, "results": "full"},
            "hygiene": hygiene,
            "session_max": session_max,
        }
        if not roles and not tls.startswith("verify"):
            del shop["roles"]["clear"]  # the clear password needs verified TLS
        shop["access"] = [{"groups": ["agents"], "roles": list(shop["roles"])}]
        self.gateway_spec = {"store": {"path": "./data"}, "listen": {"postgres": f"127.0.0.1:{self.port}"}, "identity": {"local": {}}, **(gateway or {})}
        self.connections = {"shop": shop, **(connections or {})}
        self.config = self.dir / "hansard.yaml"
        self.write_config()

    def write_config(self):
        docs = [{"apiVersion": "hansard/v1", "kind": "Gateway", "spec": self.gateway_spec}]
        docs += [{"apiVersion": "hansard/v1", "kind": "Connection", "metadata": {"name": name, "labels": {"env": "test"}}, "spec": spec}
                 for name, spec in self.connections.items()]
        # JSON is YAML.
        self.config.write_text("".join(f"---\n{json.dumps(doc, indent=2)}\n" for doc in docs))

    # --- life ---
    def start(self, wait=True):
        env = {"PATH": os.environ["PATH"], **self.env}
        mark = self.mark()
        self.process = subprocess.Popen([self.binary, "serve", "--config", str(self.config), "--log", "json", *self.args], stdout=subprocess.DEVNULL,
                                        stderr=subprocess.PIPE, env=env, cwd="/")
        threading.Thread(target=self._read, args=(self.process,), daemon=True).start()
        if wait:
            self.wait_event("ready", after=mark)
        return self

    def _read(self, process):
        for raw in process.stderr:
            line = raw.decode(errors="replace").rstrip("\n")
            with self._cond:
                self.lines.append(line)
                with contextlib.suppress(ValueError):
                    event = json.loads(line)
                    if isinstance(event, dict):
                        self.events.append(event)
                self._cond.notify_all()
        with self._cond:
            self.lines.append("<eof>")
            self._cond.notify_all()

    def log_text(self):
        with self._cond:
            return "\n".join(self.lines)

    def wait_event(self, suffix, after=0, seconds=WAIT, **fields):
        """Waits for a log event whose name ends in `suffix` and whose fields match; returns (index, event)."""
        end = time.monotonic() + seconds
        with self._cond:
            while True:
                for index, event in enumerate(self.events[after:], after):
                    if event.get("event", "").endswith(suffix) and all(event.get(k) == v for k, v in fields.items()):
                        return index, event
                left = end - time.monotonic()
                if left <= 0 or (self.lines and self.lines[-1] == "<eof>" and self.process.poll() is not None):
                    raise AssertionError(f"no event …{suffix} {fields}; log:\n" + "\n".join(self.lines[-40:]))
                self._cond.wait(min(left, 0.5))

    def mark(self):
        with self._cond:
            return len(self.events)

    def children(self):
        """role → pid, from the kernel's table of processes."""
        out = {}
        pid = self.process.pid
        for entry in pathlib.Path("/proc").iterdir():
            if entry.name.isdigit():
                with contextlib.suppress(OSError, IndexError, ValueError):
                    stat = (entry / "stat").read_text()
                    if int(stat.rsplit(") ", 1)[1].split()[1]) == pid:
                        argv = (entry / "cmdline").read_bytes().split(b"\0")
                        out[argv[2].decode()] = int(entry.name)
        return out

    def stop(self, sig=signal.SIGTERM, seconds=WAIT):
        if self.process is None or self.process.poll() is not None:
            return self.process.returncode if self.process else None
        self.process.send_signal(sig)
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError("the gateway did not stop; log:\n" + "\n".join(self.lines[-40:])) from None

    def remove(self):
        shutil.rmtree(self.dir, ignore_errors=True)

    # --- use ---
    def hansard(self, *args, check=True, **kw):
        return run([self.binary, args[0], "--config", self.config, *args[1:]], check=check, **kw)

    def json(self, *args):
        return json.loads(self.hansard(*args, "-o", "json").stdout)

    def token(self, *extra, subject="ci", kind="agent", groups=("agents",), ttl="1h"):
        args = ["token", "--subject", subject, "--kind", kind, "--ttl", ttl]
        for group in groups:
            args += ["--group", group]
        return self.hansard(*args, *extra).stdout.strip()

    def conninfo(self, user="shop", dbname="shop", host="127.0.0.1", **extra):
        parts = {"host": host, "port": self.port, "user": user, "dbname": dbname, "sslmode": "verify-full", "sslrootcert": self.store / "ca.pem", **extra}
        return " ".join(f"{k}={v}" for k, v in parts.items())

    def psql(self, sql, token=None, check=True, args=("-XAtq",), user="shop", dbname="shop", timeout=120, **extra):
        token = token or self.token()
        env = {**os.environ, "PGPASSWORD": token, "LC_ALL": "C.UTF-8"}
        command = ["psql", self.conninfo(user=user, dbname=dbname, **extra), *args, "-v", "ON_ERROR_STOP=1", "-v", "VERBOSITY=verbose"]
        if isinstance(sql, str):
            return run([*command, "-c", sql], check=check, env=env, timeout=timeout)
        return run([*command, *sql], check=check, env=env, timeout=timeout)

    def copy_store(self):
        target = short_dir("copy") / "data"
        run(["cp", "-a", "--sparse=always", self.store, target])
        with contextlib.suppress(FileNotFoundError):
            (target / "control.sock").unlink()
        return target


class Client:
    """An interactive psql."""

    def __init__(self, gateway, token):
        self.process = subprocess.Popen(["psql", gateway.conninfo(), "-XAtq", "-v", "VERBOSITY=verbose"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, text=True, env={**os.environ, "PGPASSWORD": token})

    def say(self, sql):
        self.process.stdin.write(sql + "\n")
        self.process.stdin.flush()

    def ask(self, sql):
        self.say(sql)
        return self.process.stdout.readline().rstrip("\n")


def python_verifier(store, *args, check=True):
    return run(["/usr/bin/python3", ROOT / "tests/verifier/hansard_verify.py", store, *args], check=check, timeout=600)


def startup(user="shop", database="shop", **extra):
    """A StartupMessage."""
    body = struct.pack("!i", 196608)
    for key, value in {"user": user, "database": database, **extra}.items():
        body += key.encode() + b"\0" + value.encode() + b"\0"
    body += b"\0"
    return struct.pack("!i", len(body) + 4) + body


def read_all(s, seconds=WAIT):
    """Everything up to the peer's end."""
    s.settimeout(seconds)
    out = b""
    while True:
        try:
            data = s.recv(65536)
        except ConnectionResetError:
            return out
        if not data:
            return out
        out += data


def messages(data):
    """(type, body) of each whole message of the server's side."""
    at = 0
    while at + 5 <= len(data):
        size = 1 + int.from_bytes(data[at + 1:at + 5], "big")
        yield data[at:at + 1], data[at + 5:at + size]
        at += size


def error_fields(data):
    """The fields of the first ErrorResponse: letter → text."""
    for kind, body in messages(data):
        if kind == b"E":
            return {chr(part[0]): part[1:].decode(errors="replace") for part in body.split(b"\0") if part}
    return {}


def has_event(events, name):
    return [e for e in events if e.get("event", "").endswith(name)]


SHORT_ID = re.compile(r"\b[0-9a-hjkmnp-tv-z]{4}-[0-9a-hjkmnp-tv-z]{4}\b")
