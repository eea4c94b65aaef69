"""Peers that do what no well-made one does: a server played by a function, and a client of raw messages.

`FakePg` listens on loopback and gives each connection to `behave(conn)`, which tests replace; the
functions below play a server that is right, up to the point a test wants it wrong. `RawClient` speaks
through the gateway in single messages. Both read with deadlines: a test that waits for what never
comes ends with what did come.
"""

import contextlib
import socket
import ssl
import struct
import threading

import lab

SSL_REQUEST, CANCEL_REQUEST = 80877103, 80877102
COLUMN = b"\0\1c\0" + struct.pack("!ihihih", 0, 0, 25, -1, -1, 0)


def message(kind, body=b""):
    return kind + struct.pack("!i", 4 + len(body)) + body


def zero(*texts):
    return b"".join((t if isinstance(t, bytes) else t.encode()) + b"\0" for t in texts)


# --- what clients say ---


def query(text):
    return message(b"Q", zero(text))


def parse(name, text):
    return message(b"P", zero(name, text) + b"\0\0")


def bind(portal, name, *values):
    args = b"".join(struct.pack("!i", -1) if v is None else struct.pack("!i", len(v)) + v for v in values)
    return message(b"B", zero(portal, name) + b"\0\0" + struct.pack("!h", len(values)) + args + b"\0\0")


def describe(kind, name):
    return message(b"D", kind + zero(name))


def execute(portal="", rows=0):
    return message(b"E", zero(portal) + struct.pack("!i", rows))


def close(kind, name):
    return message(b"C", kind + zero(name))


SYNC, FLUSH, TERMINATE = message(b"S"), message(b"H"), message(b"X")

# --- what servers say ---

AUTH_OK = message(b"R", struct.pack("!i", 0))
IDLE = message(b"Z", b"I")


def error(severity="ERROR", code="XX000", text="wrong"):
    return message(b"E", zero("S" + severity, "V" + severity, "C" + code, "M" + text) + b"\0")


def notice(text):
    return message(b"N", zero("SNOTICE", "VNOTICE", "C00000", "M" + text) + b"\0")


def parameter(name, value):
    return message(b"S", zero(name, value))


def row(*values):
    return message(b"D", struct.pack("!h", len(values)) + b"".join(struct.pack("!i", len(v)) + v for v in values))


def complete(tag):
    return message(b"C", zero(tag))


ONE_ROW = message(b"T", COLUMN) + row(b"1") + complete("SELECT 1")
PARAMETERS = parameter("server_version", "15.0") + parameter("client_encoding", "UTF8") + parameter("standard_conforming_strings", "on")
KEY = message(b"K", struct.pack("!iI", 4711, 0xfeedbeef))


class Stream:
    """Messages out of a socket."""

    def __init__(self, s):
        self.s = s
        self.s.settimeout(lab.WAIT)
        self.held = b""

    def send(self, *parts):
        self.s.sendall(b"".join(parts))

    def take(self, count):
        while len(self.held) < count:
            data = self.s.recv(65536)
            if not data:
                raise EOFError(self.held)
            self.held += data
        out, self.held = self.held[:count], self.held[count:]
        return out

    def start(self):
        """A packet without a type: (code, body)."""
        size, code = struct.unpack("!iI", self.take(8))
        return code, self.take(size - 8)

    def next(self):
        kind, size = struct.unpack("!ci", self.take(5))
        return kind, self.take(size - 4)

    def until(self, *kinds):
        """Messages up to the first of these kinds; fewer when the peer ends."""
        out = []
        with contextlib.suppress(EOFError, ConnectionResetError, BrokenPipeError, ssl.SSLError):
            while not out or out[-1][0] not in kinds:
                out.append(self.next())
        return out

    def close(self):
        self.s.close()


def answer_queries(conn):
    """A server that knows one row, until the client ends."""
    replies = {b"P": message(b"1"), b"B": message(b"2"), b"D": message(b"T", COLUMN), b"E": row(b"1") + complete("SELECT 1"), b"C": message(b"3"), b"S": IDLE, b"Q": ONE_ROW + IDLE, b"H": b""}
    while True:
        kind, _ = conn.next()
        if kind == b"X":
            return
        conn.send(replies[kind])


def let_in(conn, before=b"", parameters=PARAMETERS, key=KEY):
    code, _ = conn.start()
    if code == CANCEL_REQUEST:
        raise EOFError
    conn.send(before, AUTH_OK, parameters, key, IDLE)


def well_behaved(conn):
    let_in(conn)
    answer_queries(conn)


class FakePg:
    def __init__(self):
        self.behave = well_behaved
        self.failures = []
        self._server = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = self._server.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                s, _ = self._server.accept()
            except OSError:
                return
            s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self._serve, args=(s, self.behave), daemon=True).start()

    def _serve(self, s, behave):
        try:
            behave(Stream(s))
        except (EOFError, OSError):
            pass  # the gateway may leave when it likes
        except Exception as failure:  # pylint: disable=broad-except  # a test's own mistake is shown by that test
            self.failures.append(failure)
        finally:
            s.close()

    def close(self):
        self._server.close()


def in_tls(gateway):
    s = socket.create_connection(("127.0.0.1", gateway.port))
    s.sendall(struct.pack("!ii", 8, SSL_REQUEST))
    assert s.recv(1) == b"S"
    return ssl.create_default_context(cafile=str(gateway.store / "ca.pem")).wrap_socket(s, server_hostname="localhost")


class RawClient(Stream):
    """Through TLS to the gateway, up to `start`."""

    def __init__(self, gateway, token=None, user="shop", database="shop", wait=True, **settings):
        super().__init__(in_tls(gateway))
        self.gateway = gateway
        self.send(lab.startup(user, database, **settings), message(b"p", zero(token or gateway.token())))
        self.greeting = self.until(b"Z", b"E") if wait else []
        keys = [body for kind, body in self.greeting if kind == b"K"]
        self.key = keys[0] if keys else None

    def is_in(self):
        return bool(self.greeting) and self.greeting[-1][0] == b"Z"

    def ask(self, *parts):
        """Sends, and returns everything up to ReadyForQuery (or the end)."""
        self.send(*parts)
        return self.until(b"Z")

    def cancel(self, key=None):
        with socket.create_connection(("127.0.0.1", self.gateway.port), timeout=lab.WAIT) as s:
            body = key or self.key
            s.sendall(struct.pack("!iI", 8 + len(body), CANCEL_REQUEST) + body)
            with contextlib.suppress(OSError):
                while s.recv(100):
                    pass


def kinds(messages):
    return b"".join(kind for kind, _ in messages)


def sqlstate(messages):
    """Of the first error among them."""
    for kind, body in messages:
        if kind == b"E":
            fields = {part[:1]: part[1:].decode(errors="replace") for part in body.split(b"\0") if part}
            return fields.get(b"C", "")
    return None
