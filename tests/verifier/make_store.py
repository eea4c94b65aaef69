"""make_store.py: a small independent writer of Hansard stores, for the tests of the verifier.

Written from docs/record-format.md alone. It shares no code with the verifier, so that a mistake in
one of them shows, and none with Hansard: that this file exists proves that the document can be
implemented. Everything is deterministic (salts, times, keys), so a test can cut and compare bytes.

A store is a dict of path -> bytes. `build()` makes the one that the tamper matrix takes apart:
two boots of one node; the acts session; a session of two sealed parts; one with a gap; one that is
open and partly only in the journal; segment 0 of the journal already used again.
"""

import base64
import hashlib
import json
import os
import struct
import subprocess
import tempfile
import uuid

ORIGIN = "record.example/gw1"
SEED = bytes([1]) * 32
NODE = bytes(range(16))
WALL = 1790000000 * 10**9
OPEN, DATA, CLOSE, GAP, INDEX, TRAILER, FACT, LOG, ACT = 1, 2, 4, 6, 7, 8, 9, 10, 11
NO_COMMANDS = hashlib.sha256(b"").digest()


def sha(*parts):
    return hashlib.sha256(b"".join(parts)).digest()


def crc32c(data):
    """Bit by bit, as the definition has it."""
    reg = 0xFFFFFFFF
    for byte in data:
        reg ^= byte
        for _ in range(8):
            reg = reg >> 1 ^ 0x82F63B78 * (reg & 1)
    return reg ^ 0xFFFFFFFF


def root(hashes):
    """RFC 6962 §2.1 by its recursive definition."""
    if not hashes:
        return NO_COMMANDS
    if len(hashes) == 1:
        return hashes[0]
    k = 1
    while 2 * k < len(hashes):
        k *= 2
    return sha(b"\1", root(hashes[:k]), root(hashes[k:]))


def varint(n):
    out = b""
    while n > 127:
        out += bytes([n & 127 | 128])
        n >>= 7
    return out + bytes([n])


def svarint(n):
    return varint(2 * n if n >= 0 else -2 * n - 1)


class Random:
    """Bytes that look random and are the same each time."""

    def __init__(self):
        self.n = 0

    def __call__(self, size=16):
        self.n += 1
        return sha(b"salt", str(self.n).encode())[:size]


# -- events -----------------------------------------------------------------------------------


def event(kind, stream, payload, dt=0):
    body = bytes([kind, stream]) + svarint(dt) + payload
    return varint(len(body)) + body


def raw(stream, offset, data):
    return event(1, stream, varint(offset) + data)


def injected(stream, why, offset, data):
    return event(4, stream, bytes([why]) + varint(offset) + data)


def forwarded(stream, offset):
    return event(5, stream, varint(offset))


def command(verb, text, c_off, c_len):
    nums = [c_off, c_len, c_off + 5, len(text), 0, 9, 1, 4]
    return event(6, 0, bytes([0, 0]) + varint(len(verb)) + verb + b"     " + sha(text)
                 + b"".join(map(varint, nums)) + svarint(-5) + svarint(7))


def end(streams):
    return event(8, 0, svarint(0) + varint(3) + b"bye" + b"".join(map(varint, streams)))


# -- frames -----------------------------------------------------------------------------------


def frame(kind, sid, no, first_seq, body, **o):
    """A whole frame: header and stored body."""
    flags, n_events, part = o.get("flags", 0), o.get("n_events", 0), o.get("part", 0)
    raw_len = o.get("raw_len", len(body))
    wall = o.get("wall", WALL + no * 1000)
    skip = 156 if flags & 3 == 2 else 156 + len(body)
    head = struct.pack("<IIHBBIII", 0x184D2A51, skip, 1, kind, flags, len(body), raw_len, n_events)
    head += sid + struct.pack("<QQQQ", no, first_seq, wall, wall // 7)
    head += struct.pack("<HHIIIII", o.get("ring", 0xFFFF), 0, 0, 0, part, o.get("epoch", 0),
                        1 if flags & 1 else 0)
    head += o.get("command_root", NO_COMMANDS) + sha(body)
    assert len(head) == 160
    return head + struct.pack("<I", crc32c(head + body)) + body


def leaf_of(data):
    return sha(b"\0", data[:160])


def compact(value):
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


class Session:
    def __init__(self, store, sid, protocol="postgres"):
        self.store, self.sid, self.text = store, sid, str(uuid.UUID(bytes=sid))
        self.frames, self.parts = [], [[]]
        self.seq, self.commands = 1, 0
        self.closed = False
        self.put(OPEN, {"format": 1, "protocol": protocol, "connection": "shop",
                        "opened_wall_ns": WALL})
        self.store.leaf(t="open", sid=self.text, wall=store.tick(), leaf=leaf_of(self.frames[0]).hex())

    def put(self, kind, body, events=(), flags=0):
        salt = self.store.random()
        if kind == DATA:
            plain = salt + b"".join(events)
        else:
            plain = salt + compact(body)
        leaves = []
        for e in events:
            at = 1 if e[0] < 128 else 2
            if e[at] == 6:
                one = sha(b"hansard/v1 command salt", salt, struct.pack("<I", len(leaves)))[:16]
                leaves.append(sha(b"\0", one, e[at:]))
        stored, raw_len = plain, len(plain)
        if self.store.pack is not None and len(plain) >= 1024:
            stored, flags = self.store.pack(plain), flags | 2
        if self.store.encrypted and kind == DATA:
            stored, flags = sha(b"key", stored) * (len(stored) // 32 + 2), flags | 1
            stored = stored[:raw_len + 16]
        f = frame(kind, self.sid, len(self.frames), self.seq, stored, flags=flags, raw_len=raw_len,
                  n_events=len(events), part=len(self.parts) - 1, wall=self.store.tick(),
                  command_root=root(leaves), epoch=flags & 1)
        self.frames.append(f)
        self.parts[-1].append(f)
        self.seq += len(events)
        self.commands += len(leaves)
        self.store.pending.append(f)

    def data(self, *events):
        self.put(DATA, None, events, flags=4)

    def seal(self, file=True):
        part, frames = len(self.parts) - 1, self.parts[-1]
        first = len(self.frames) - len(frames)
        all_root = root([leaf_of(f) for f in self.frames])
        if file:
            self.store.files[self.path(part)] = self.sealed(part, frames, all_root)
        self.store.leaf(t="seal", sid=self.text, wall=self.store.tick(), part=part, first=first,
                        frames=len(frames), root=all_root.hex())
        self.parts.append([])

    def sealed(self, part, frames, all_root):
        body, index = b"".join(frames), b""
        at = 0
        for f in frames:
            index += struct.pack("<QQQ", at, *struct.unpack_from("<QQ", f, 48))
            at += len(f)
        first = struct.unpack_from("<Q", frames[0], 40)[0]
        last = first + len(frames)
        events = struct.unpack_from("<I", frames[-1], 20)[0]
        seq = struct.unpack_from("<Q", frames[-1], 48)[0] + events
        wall = struct.unpack_from("<Q", frames[-1], 56)[0]
        out = body + frame(INDEX, self.sid, last, seq, index, part=part, wall=wall)
        trailer = b"HSDEND01" + struct.pack("<QQQQ", len(body), first, len(frames), len(out)) + all_root
        return out + frame(TRAILER, self.sid, last, seq, trailer, part=part, wall=wall)

    def path(self, part=0):
        ms = int.from_bytes(self.sid[:6], "big")
        days = ms // 86400000
        year, month = 1970, 1
        while True:
            leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
            if days < 365 + leap:
                break
            days -= 365 + leap
            year += 1
        for size in (31, 28 + leap, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31):
            if days < size:
                break
            days -= size
            month += 1
        return "sessions/%04d/%02d/%02d/%s.%04d.rec" % (year, month, days + 1, self.text, part)

    def unsealed(self, upto=None):
        """The open part's file, as far as the writer has got."""
        self.store.files[self.path(len(self.parts) - 1)] = b"".join(self.parts[-1][:upto])

    def close(self, gap=False, file=True):
        self.put(CLOSE, {"reason": "client", "code": 0, "events": self.seq - 1,
                         "frames": len(self.frames) + 1, "commands": self.commands,
                         "streams": [0, 0, 0, 0], "gap": gap}, flags=32)
        self.seal(file)
        self.store.leaf(t="close", sid=self.text, wall=self.store.tick(), frames=len(self.frames),
                        parts=len(self.parts) - 1, root=root([leaf_of(f) for f in self.frames]).hex(),
                        reason="client", gap=gap)
        self.closed = True


# -- journal, log, checkpoint -------------------------------------------------------------------


class Store:
    def __init__(self, segment_size=65536, pack=None, encrypted=False, first_segment=0):
        self.files, self.random = {}, Random()
        self.pack, self.encrypted = pack, encrypted
        self.segment_size, self.segment, self.at = segment_size, first_segment - 1, segment_size
        self.batch_no, self.logged, self.time = 1, 0, WALL
        self.pending, self.leaves, self.fresh = [], [], []
        self.sessions = []

    def tick(self):
        self.time += 10**6
        return self.time

    def session(self, number, protocol="postgres"):
        ms = WALL // 10**6 + number * 1000
        sid = ms.to_bytes(6, "big") + bytes([0x70, number, 0x80 | number]) + sha(bytes([number]))[:7]
        s = Session(self, sid, protocol)
        self.sessions.append(s)
        return s

    def leaf(self, **members):
        self.leaves.append(compact(members))
        self.fresh.append(self.leaves[-1])

    def head(self, *sessions):
        self.flush()
        self.leaf(t="head", wall=self.tick(), batch=self.batch_no - 1,
                  grew=[[s.text, len(s.frames), root([leaf_of(f) for f in s.frames]).hex()]
                        for s in sessions])

    def flush(self):
        """One batch of all that is pending."""
        frames = self.pending
        if self.fresh:
            body = self.random() + b"".join(struct.pack(">H", len(x)) + x for x in self.fresh)
            no = len(self.leaves) - len(self.fresh)
            frames.append(frame(LOG, b"\xff" * 16, no, no, body, n_events=len(self.fresh)))
        logged, self.pending, self.fresh = len(self.leaves), [], []
        if not frames:
            return
        payload = b"".join(frames)
        total = -(-(64 + len(payload)) // 4096) * 4096
        if self.at + total > self.segment_size:
            self.next_segment()
        head = b"HSB1" + struct.pack("<IQQQ", len(payload), self.batch_no, self.batch_no - 1,
                                     self.tick() // 7)
        head += self.salt + struct.pack("<III", len(frames), 0, 0)
        head += struct.pack("<I", crc32c(head + payload))
        self.put(self.at, (head + payload).ljust(total, b"\0"))
        self.at += total
        self.batch_no += 1
        self.logged = logged

    def next_segment(self):
        self.segment += 1
        self.salt = self.random()
        self.files[self.name()] = bytes(self.segment_size)
        block = b"HSDSEG01" + struct.pack("<IIQQ", 1, 4096, self.segment_size, self.segment) + NODE
        block += self.salt + struct.pack("<QQQII", self.tick(), self.batch_no, self.logged, 0, 0)
        self.put(0, block + struct.pack("<I", crc32c(block)))
        self.at = 4096

    def name(self, segment=None):
        return "journal/%08x.seg" % (self.segment if segment is None else segment)

    def put(self, at, data):
        old = self.files[self.name()]
        self.files[self.name()] = old[:at] + data + old[at + len(data):]

    def tiles(self, upto=None):
        """Bundles and tiles of the first `upto` leaves."""
        for path in [p for p in self.files if p.startswith("log/tile/")]:
            del self.files[path]
        leaves = self.leaves[:upto]
        self.rows("entries", [struct.pack(">H", len(x)) + x for x in leaves])
        level, hashes = 0, [sha(b"\0", x) for x in leaves]
        while hashes:
            self.rows(str(level), hashes)
            hashes = [root(hashes[i:i + 256]) for i in range(0, len(hashes) - 255, 256)]
            level += 1

    def rows(self, level, items):
        for i in range(0, len(items), 256):
            row = items[i:i + 256]
            n = "%03d" % (i // 256 % 1000)
            rest = i // 256 // 1000
            while rest:
                n, rest = "x%03d/" % (rest % 1000) + n, rest // 1000
            partial = "" if len(row) == 256 else ".p/%d" % len(row)
            self.files["log/tile/%s/%s%s" % (level, n, partial)] = b"".join(row)

    def sign(self, size=None, seed=SEED, origin=ORIGIN):
        size = len(self.leaves) if size is None else size
        hashes = [sha(b"\0", x) for x in self.leaves[:size]]
        self.files["log/checkpoint"] = checkpoint(origin, size, root(hashes), seed)

    def node(self, seed=SEED, origin=ORIGIN):
        self.files["node.json"] = compact({"format": 1, "node": NODE.hex(), "origin": origin,
                                           "vkey": vkey(seed, origin)})

    def write(self, directory):
        for path, data in self.files.items():
            full = os.path.join(directory, path)
            os.makedirs(os.path.dirname(full), exist_ok=True)
            with open(full, "wb") as f:
                f.write(data)


def openssl(*args):
    return subprocess.run(("openssl",) + args, stdout=subprocess.PIPE, check=True).stdout


def with_key(seed, do):
    with tempfile.TemporaryDirectory() as tmp:
        key = os.path.join(tmp, "key")
        with open(key, "wb") as f:
            f.write(bytes.fromhex("302e020100300506032b657004220420") + seed)
        return do(tmp, key)


def public(seed):
    return with_key(seed, lambda tmp, key: openssl(
        "pkey", "-inform", "DER", "-in", key, "-pubout", "-outform", "DER"))[-32:]


def signature(seed, message):
    def do(tmp, key):
        with open(os.path.join(tmp, "m"), "wb") as f:
            f.write(message)
        return openssl("pkeyutl", "-sign", "-keyform", "DER", "-inkey", key, "-rawin", "-in",
                       os.path.join(tmp, "m"))
    return with_key(seed, do)


def key_id(origin, pub):
    return sha(origin.encode(), b"\n\1", pub)[:4]


def vkey(seed=SEED, origin=ORIGIN):
    pub = public(seed)
    return "%s+%s+%s" % (origin, key_id(origin, pub).hex(), base64.b64encode(b"\1" + pub).decode())


def checkpoint(origin, size, hash_, seed):
    text = "%s\n%d\n%s\n" % (origin, size, base64.b64encode(hash_).decode())
    blob = key_id(origin, public(seed)) + signature(seed, text.encode())
    return (text + "\n\u2014 %s %s\n" % (origin, base64.b64encode(blob).decode())).encode()


# -- the store of the tests ------------------------------------------------------------------------


def query(n, offset, wide=0):
    text = b"select %d" % n + b" " * wide
    message = b"Q" + struct.pack(">I", len(text) + 5) + text + b"\0"
    return [raw(0, offset, message), command(b"SELECT", text, offset, len(message)),
            forwarded(1, offset + len(message))], len(message)


def talk(s, n, times=1, wide=0):
    """A few statements: data frames."""
    at = getattr(s, "offset", 0)
    back = getattr(s, "back", 0)
    for i in range(times):
        events, size = query(n + i, at, wide)
        at += size
        s.data(*events, raw(2, back, b"answer %03d" % i), forwarded(3, back + 10))
        back += 10
    s.offset, s.back = at, back


def build(unsigned=False, stop=False, **options):
    store = Store(segment_size=32768, **options)
    store.node()
    store.leaf(t="boot", wall=store.tick(), node=NODE.hex(), boot="11" * 16, version="0.1")
    acts = store.session(1, "acts")
    acts.put(ACT, {"act": "gateway.started", "wall_ns": store.tick()})
    store.head(acts)
    two = store.session(2)
    talk(two, 10, 2)
    store.head(two)
    two.seal()
    talk(two, 20, 2)
    store.flush()
    two.close()
    store.head(two)
    acts.close()
    store.flush()
    store.leaf(t="boot", wall=store.tick(), node=NODE.hex(), boot="22" * 16, version="0.1")
    store.next_segment()
    store.tiles()
    recycled = store.name(0)
    gone = len(store.leaves) - 1
    hole = store.session(3)
    talk(hole, 30)
    store.flush()
    hole.put(GAP, {"reason": "crash", "after_seq": hole.seq - 1, "lost": None})
    store.leaf(t="gap", sid=hole.text, wall=store.tick(), after_seq=hole.seq - 1, reason="crash")
    hole.close(gap=True)
    live = store.session(4)
    talk(live, 40, 2)
    live.unsealed(2)
    store.head(hole, live)
    store.flush()
    if stop:
        live.close()
        store.flush()
        store.leaf(t="stop", wall=store.tick(), boot="22" * 16, batch=store.batch_no - 1)
        store.flush()
    store.tiles()
    store.sign()
    del store.files[recycled]
    if unsigned:
        talk(live, 60)
        store.head(live)
        store.flush()
    store.gone_leaves = gone
    return store
