"""A byte tee: the oracle that says what really went over the wire.

`Tee` listens on loopback and passes every connection on, keeping what each side said. On the
client's side of the gateway it speaks plain PostgreSQL with the client and TLS with the gateway
(it answers nothing itself: it asks the gateway for TLS by an SSLRequest of its own, which belongs to
what the gateway's client said). Between gateway and server it is a plain relay.
"""

import select
import socket
import ssl
import struct
import threading

SSL_REQUEST = struct.pack("!ii", 8, 80877103)


class Conversation:
    def __init__(self):
        self.up = bytearray()    # said by the one who connected
        self.down = bytearray()  # said by the one it was passed on to
        self.done = threading.Event()


class Tee:
    def __init__(self, target, cafile=None):
        """target: (host, port); cafile: speak TLS to the target with PostgreSQL's SSLRequest first."""
        self.target = target
        self.cafile = cafile
        self.conversations = []
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = self._server.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self):
        self._server.close()

    def _accept(self):
        while True:
            try:
                client, _ = self._server.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client):
        talk = Conversation()
        self.conversations.append(talk)
        try:
            target = socket.create_connection(self.target)
            for s in (client, target):
                s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self.cafile:
                target.sendall(SSL_REQUEST)
                talk.up += SSL_REQUEST
                answer = target.recv(1)
                talk.down += answer
                if answer != b"S":
                    raise OSError(f"gateway answered {answer!r} to SSLRequest")
                context = ssl.create_default_context(cafile=str(self.cafile))
                target = context.wrap_socket(target, server_hostname="localhost")
        except OSError:
            client.close()
            talk.done.set()
            return
        relay(client, target, talk)
        client.close()
        target.close()
        talk.done.set()


class Half:
    """One direction: what was read from `source` and is not yet written to `sink`."""

    def __init__(self, source, sink, log):
        self.source, self.sink, self.log = source, sink, log
        self.held = bytearray()
        self.eof = False
        self.shut = False

    def read(self):
        while not self.eof and len(self.held) < 1 << 20:
            try:
                data = self.source.recv(65536)
            except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
                return
            except OSError:
                data = b""
            if not data:
                self.eof = True
                return
            self.log += data
            self.held += data

    def write(self):
        while self.held:
            try:
                sent = self.sink.send(self.held)
            except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
                return
            except OSError:
                self.held.clear()
                self.eof = True
                break
            del self.held[:sent]
        if self.eof and not self.shut:
            self.shut = True
            try:
                # Of the socket alone: SSLSocket.shutdown would give up TLS for the other direction too.
                socket.socket.shutdown(self.sink, socket.SHUT_WR)
            except OSError:
                pass


def relay(client, target, talk):
    """Both directions in one thread: an SSL object must not be read and written at once."""
    halves = [Half(client, target, talk.up), Half(target, client, talk.down)]
    for s in (client, target):
        s.setblocking(False)
    while not all(half.shut for half in halves):
        for half in halves:
            half.read()
            half.write()
        reading = [h.source for h in halves if not h.eof and len(h.held) < 1 << 20]
        writing = [h.sink for h in halves if h.held]
        # What TLS has decrypted already, select does not see.
        if any(s.pending() for s in reading if isinstance(s, ssl.SSLSocket)):
            continue
        if reading or writing:
            select.select(reading, writing, [], 0.5)
