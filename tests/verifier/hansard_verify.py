#!/usr/bin/env python3
"""hansard_verify.py: an independent verifier for a Hansard record.

What. Reads a store and says whether the record in it is what its gateway signed: the checkpoint,
the tiles and entry bundles of the node log, the leaves of the log, every session's frames and tree,
the parts with their index and trailer, the journal, and that nothing is there or missing that the
log does not say. Where something is wrong it names file, byte and frame.

Why this way. It is written from docs/record-format.md alone and shares no code with Hansard. One
file, Python 3.9 or newer, the standard library, and the `openssl` command for the one signature.
`zstd` is called only for compressed bodies, and only when --contents is asked for. It opens files
for reading and follows no symbolic link, so it may run on a live store: it lists the sessions
first, then reads checkpoint, journal, log and sessions, in that order, because data moves from the
journal into the others and never back.

What a verdict rests on. A key given with --vkey proves who signed. A key found in the store excludes
accidents and nothing more. And without a witness nobody can see that a whole store was put back to
an older state that had once been signed.

Exit status: 0 nothing wrong, 1 could not be done, 2 usage, 3 unverifiable, 4 tampered with.
"""

import argparse
import base64
import datetime
import functools
import hashlib
import json
import os
import re
import shutil
import stat
import struct
import subprocess
import sys
import tempfile
import time

EXIT_OK, EXIT_CANNOT, EXIT_USAGE, EXIT_UNVERIFIABLE, EXIT_TAMPERED = 0, 1, 2, 3, 4

# A leaf is signed about a second after it was made. An older one without a signature is not a
# matter of bad timing any more.
SIGNING_NS = 10 * 1000 * 1000 * 1000


class Cannot(Exception):
    """The check itself could not be done (no openssl, no permission): exit 1."""


class Usage(Exception):
    """The command line makes no sense: exit 2."""


# ---------------------------------------------------------------------------------------------
# Hashes and checksums


def sha256(data):
    return hashlib.sha256(data).digest()


def leaf_hash(data):
    return sha256(b"\0" + data)


def node_hash(left, right):
    return sha256(b"\1" + left + right)


EMPTY_ROOT = sha256(b"")


class Frontier:
    """The left border of a growing RFC 6962 tree: appending is cheap, and so is the root now."""

    def __init__(self):
        self.size = 0
        self.stack = []  # hashes of full subtrees, the largest first

    def append(self, leaf):
        self.stack.append(leaf)
        self.size += 1
        n = self.size
        while n % 2 == 0:
            right = self.stack.pop()
            self.stack[-1] = node_hash(self.stack[-1], right)
            n //= 2

    def root(self):
        if not self.stack:
            return EMPTY_ROOT
        h = self.stack[-1]
        for left in reversed(self.stack[:-1]):
            h = node_hash(left, h)
        return h


def roots_at(leaves, sizes):
    """{size: root of the first `size` leaves} for those sizes that there are leaves for."""
    wanted = set(sizes)
    out = {}
    front = Frontier()
    if 0 in wanted:
        out[0] = EMPTY_ROOT
    for leaf in leaves:
        front.append(leaf)
        if front.size in wanted:
            out[front.size] = front.root()
    return out


def audit_path(leaves, index):
    """RFC 6962 §2.1.1: the hashes that lead from leaf `index` to the root of `leaves`."""
    path = []
    lo, hi = 0, len(leaves)
    while hi - lo > 1:
        k = 1
        while k * 2 < hi - lo:
            k *= 2
        if index < lo + k:
            path.append(tree_root(leaves[lo + k:hi]))
            hi = lo + k
        else:
            path.append(tree_root(leaves[lo:lo + k]))
            lo += k
    path.reverse()
    return path


def root_from_path(leaf, index, size, path):
    """The root that an audit path leads to, or None when the path has the wrong length."""
    if not 0 <= index < size:
        return None
    h, fn, sn = leaf, index, size - 1
    for p in path:
        if sn == 0:
            return None
        if fn % 2 == 1 or fn == sn:
            h = node_hash(p, h)
            while fn % 2 == 0 and fn != 0:
                fn //= 2
                sn //= 2
        else:
            h = node_hash(h, p)
        fn //= 2
        sn //= 2
    return h if sn == 0 else None


def tree_root(leaves):
    front = Frontier()
    for leaf in leaves:
        front.append(leaf)
    return front.root()


# CRC-32C, reflected polynomial. A byte-by-byte loop does some 10 MB/s in Python. Long input is
# therefore folded first: with the message as a polynomial A·x^n + B, A·(x^n mod P) + B has the same
# remainder at half the length, and Python's long integers do the multiplication by the 32-bit
# constant as some 16 shifts and exclusive-ors of the whole.
CRC_POLY = 0x82F63B78


def crc_table():
    table = []
    for n in range(256):
        c = n
        for _ in range(8):
            c = (c >> 1) ^ (CRC_POLY if c & 1 else 0)
        table.append(c)
    return tuple(table)


CRC_TABLE = crc_table()


def crc_mul(a, b):
    """a·b mod P, both reflected: bit 31 is x^0."""
    out = 0
    while a:
        if a & 0x80000000:
            out ^= b
        a = (a << 1) & 0xFFFFFFFF
        b = (b >> 1) ^ (CRC_POLY if b & 1 else 0)
    return out


def crc_fold_shifts():
    """For each k: where the bits of x^(2^k + 64) mod P are, in reflected order."""
    powers = [0x40000000]  # x^1
    while len(powers) < 40:
        powers.append(crc_mul(powers[-1], powers[-1]))
    return [tuple(i for i in range(32) if crc_mul(p, powers[6]) >> i & 1) for p in powers]


CRC_SHIFTS = crc_fold_shifts()


def crc32c(data):
    c = 0xFFFFFFFF
    if len(data) >= 512:
        value = int.from_bytes(data, "little") ^ 0xFFFFFFFF
        bits = len(data) * 8
        while bits > 1024:
            # The smallest keep = 2^k + 64 that has room for A's product: at least (bits + 31) / 2.
            k = ((bits + 32) // 2 - 65).bit_length()
            keep = (1 << k) + 64
            first = bits - keep
            a = value & ((1 << first) - 1)
            product = 0
            for shift in CRC_SHIFTS[k]:
                product ^= a << shift
            value = (value >> first) ^ (product << (keep - first - 31))
            bits = keep
        data = value.to_bytes(bits // 8, "little")
        c = 0
    table = CRC_TABLE
    for byte in data:
        c = table[(c ^ byte) & 0xFF] ^ (c >> 8)
    return c ^ 0xFFFFFFFF


def canonical_base64(text):
    """Decodes strictly: None unless `text` is exactly what encoding the result gives again."""
    try:
        raw = base64.b64decode(text.encode("ascii"), validate=True)
    except ValueError:
        return None
    return raw if base64.b64encode(raw).decode("ascii") == text else None


# ---------------------------------------------------------------------------------------------
# What is found


def clean(text):
    """Names and reasons come from the record: none of their control bytes may reach a terminal."""
    return "".join(c if c.isprintable() else "\\x%02x" % ord(c) for c in str(text))


class Finding:
    """level: error (tampered), unverifiable, warn, note. The rest is where."""

    def __init__(self, level, text, file=None, offset=None, session=None, frame=None):
        self.level, self.text = level, text
        self.file, self.offset, self.session, self.frame = file, offset, session, frame

    def __str__(self):
        where = []
        if self.session is not None:
            where.append("session " + self.session)
        if self.frame is not None:
            where.append("frame %d" % self.frame)
        if self.file is not None:
            where.append(self.file + ("" if self.offset is None else " byte %d" % self.offset))
        return clean("%s: %s%s" % (self.level, ", ".join(where) + ": " if where else "", self.text))

    def as_dict(self):
        fields = ("level", "session", "frame", "file", "offset", "text")
        return {k: getattr(self, k) for k in fields if getattr(self, k) is not None}


class Report:
    def __init__(self):
        self.findings = []
        self.sessions = {}  # sid: dict
        self.key = None
        self.checkpoint = None
        self.log = {}
        self.journal = {}

    def add(self, level, text, **where):
        self.findings.append(Finding(level, text, **where))

    def error(self, text, **where):
        self.add("error", text, **where)

    def has(self, level):
        return any(f.level == level for f in self.findings)

    def exit_status(self):
        if self.has("error"):
            return EXIT_TAMPERED
        return EXIT_UNVERIFIABLE if self.has("unverifiable") else EXIT_OK


# ---------------------------------------------------------------------------------------------
# Where the bytes come from


class Disk:
    """A record directory, read only. Paths are relative, with '/'."""

    def __init__(self, root):
        self.root = root

    def paths(self):
        """[(path, 'file' | 'other')], sorted. Symbolic links are 'other' and never followed."""
        out = []
        todo = [""]
        while todo:
            rel = todo.pop()
            try:
                entries = list(os.scandir(os.path.join(self.root, rel)))
            except FileNotFoundError:
                continue
            for entry in entries:
                path = rel + "/" + entry.name if rel else entry.name
                if entry.is_dir(follow_symlinks=False):
                    todo.append(path)
                else:
                    plain = entry.is_file(follow_symlinks=False)
                    out.append((path, "file" if plain else "other"))
        return sorted(out)

    def open(self, path):
        fd = os.open(os.path.join(self.root, path), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
                     | os.O_NONBLOCK)
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            os.close(fd)
            raise Cannot("%s is not a plain file" % path)
        return os.fdopen(fd, "rb")

    def read(self, path):
        """The bytes, or None when there is no such file (any more)."""
        try:
            with self.open(path) as f:
                return f.read()
        except FileNotFoundError:
            return None

    def read_range(self, path, offset, size):
        try:
            with self.open(path) as f:
                f.seek(offset)
                return f.read(size)
        except FileNotFoundError:
            return b""

    def stamp(self):
        """Changes when a file does: tells a store that is being written from a damaged one."""
        out = []
        for path, _ in self.paths():
            try:
                st = os.lstat(os.path.join(self.root, path))
                out.append((path, st.st_mtime_ns, st.st_size))
            except FileNotFoundError:
                out.append((path, 0, 0))
        return out


class Overlay:
    """A store in which some files are replaced: how a session file from elsewhere is checked."""

    def __init__(self, below, files):
        self.below, self.files = below, files

    def paths(self):
        have = dict(self.below.paths())
        have.update((p, "file") for p in self.files)
        return sorted(have.items())

    def read(self, path):
        return self.files[path] if path in self.files else self.below.read(path)

    def read_range(self, path, offset, size):
        if path in self.files:
            return self.files[path][offset:offset + size]
        return self.below.read_range(path, offset, size)

    def stamp(self):
        return self.below.stamp()


# ---------------------------------------------------------------------------------------------
# Frames (record-format §2, §3)

FRAME = struct.Struct("<IIHBBIII16sQQQQHHIIIII32s32sI")
FRAME_SIZE = 164
assert FRAME.size == FRAME_SIZE
FRAME_MAGIC = 0x184D2A51
FRAME_MAGIC_BYTES = struct.pack("<I", FRAME_MAGIC)
RAW_MAX = 1 << 20

F_ENCRYPTED, F_COMPRESSED, F_INTENT, F_MASKED, F_RECOVERED, F_LAST = 1, 2, 4, 8, 16, 32
FLAGS_KNOWN = 63

K_OPEN, K_DATA, K_KEY, K_CLOSE, K_TOMBSTONE, K_GAP = 1, 2, 3, 4, 5, 6
K_INDEX, K_TRAILER, K_FACT, K_LOG, K_ACT = 7, 8, 9, 10, 11
TREE_KINDS = frozenset((K_OPEN, K_DATA, K_KEY, K_CLOSE, K_TOMBSTONE, K_GAP, K_FACT, K_ACT))
LOG_SID = b"\xff" * 16


class Frame:
    __slots__ = ("head", "kind", "flags", "body_len", "raw_len", "n_events", "sid", "no",
                 "first_seq", "wall_ns", "mono_ns", "part", "suite", "command_root", "body_hash",
                 "file", "offset", "leaves", "batch")

    def total(self):
        return FRAME_SIZE + self.body_len

    def leaf(self):
        return leaf_hash(self.head[:160])


class BadFrame(Exception):
    """offset: the byte at which it shows. short: the data ends before the frame does."""

    def __init__(self, text, offset, short=False):
        super().__init__(text)
        self.text, self.offset, self.short = text, offset, short


def parse_frame(data, offset, end, file):
    """Decodes and checks one frame of data[offset:end]; raises BadFrame."""
    if end - offset < FRAME_SIZE:
        raise BadFrame("ends inside a frame header", offset, short=True)
    head = bytes(data[offset:offset + FRAME_SIZE])
    (magic, skip_len, version, kind, flags, body_len, raw_len, n_events, sid, no, first_seq,
     wall_ns, mono_ns, _ring, zero, _slot, _generation, part, key_epoch, suite, command_root,
     body_hash, crc) = FRAME.unpack(head)
    if magic != FRAME_MAGIC:
        raise BadFrame("no frame magic", offset)
    if version != 1:
        raise BadFrame("frame version %d" % version, offset + 8)
    if not K_OPEN <= kind <= K_ACT:
        raise BadFrame("unknown frame kind %d" % kind, offset + 10)
    if flags & ~FLAGS_KNOWN:
        raise BadFrame("unknown frame flags 0x%02x" % flags, offset + 11)
    if raw_len > RAW_MAX:
        raise BadFrame("raw_len %d is too large" % raw_len, offset + 16)
    encrypted, compressed = bool(flags & F_ENCRYPTED), bool(flags & F_COMPRESSED)
    plain_len = raw_len + (16 if encrypted else 0)
    if body_len >= plain_len if compressed else body_len != plain_len:
        raise BadFrame("body_len %d does not fit raw_len %d" % (body_len, raw_len), offset + 12)
    if end - offset < FRAME_SIZE + body_len:
        raise BadFrame("ends inside a frame body", offset, short=True)
    body = data[offset + FRAME_SIZE:offset + FRAME_SIZE + body_len]
    if crc32c(head[:160] + body) != crc:
        raise BadFrame("CRC does not fit", offset)
    if sha256(body) != body_hash:
        raise BadFrame("body_hash does not fit the body", offset + 128)
    if skip_len != (156 if compressed and not encrypted else 156 + body_len):
        raise BadFrame("skip_len does not fit", offset + 4)
    if zero != 0:
        raise BadFrame("a field that must be zero is not", offset + 74)
    if suite != (1 if encrypted else 0) or (key_epoch != 0 and not encrypted):
        raise BadFrame("suite and key_epoch do not fit the flags", offset + 88)
    f = Frame()
    f.head, f.kind, f.flags, f.body_len, f.raw_len = head, kind, flags, body_len, raw_len
    f.n_events, f.sid, f.no, f.first_seq = n_events, sid, no, first_seq
    f.wall_ns, f.mono_ns, f.part, f.suite = wall_ns, mono_ns, part, suite
    f.command_root, f.body_hash, f.file, f.offset = command_root, body_hash, file, offset
    f.leaves = f.batch = None
    return f


def parse_bundle(data, base):
    """[(offset, entry)] of big-endian u16 length + entry; raises BadFrame."""
    out = []
    pos = 0
    while pos < len(data):
        if len(data) - pos < 2:
            raise BadFrame("ends inside an entry length", base + pos)
        size = data[pos] << 8 | data[pos + 1]
        if len(data) - pos - 2 < size:
            raise BadFrame("ends inside an entry", base + pos)
        out.append((base + pos, bytes(data[pos + 2:pos + 2 + size])))
        pos += 2 + size
    return out


# ---------------------------------------------------------------------------------------------
# Parts (record-format §7)

UUID7 = "[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"
PART_PATH = re.compile(r"sessions/(\d{4})/(\d{2})/(\d{2})/(%s)\.(\d{4})\.rec\Z" % UUID7)
SID_TEXT = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z")


def sid_text(raw):
    h = raw.hex()
    return "-".join((h[:8], h[8:12], h[12:16], h[16:20], h[20:]))


def sid_bytes(text):
    return bytes.fromhex(text.replace("-", ""))


def sid_date(sid):
    """'yyyy/mm/dd' of a UUIDv7's time in UTC; None when it is beyond the calendar."""
    ms = int(sid.replace("-", "")[:12], 16)
    try:
        day = datetime.datetime(1970, 1, 1) + datetime.timedelta(milliseconds=ms)
    except OverflowError:
        return None
    return day.strftime("%Y/%m/%d").rjust(10, "0")


class PartScan:
    def __init__(self, file, size):
        self.file, self.size = file, size
        self.frames = []       # of the tree, in file order
        self.index = None      # (Frame, body)
        self.trailer = None    # (Frame, body)
        self.problems = []     # (text, offset, frame number or None)
        self.broken = None     # (offset, BadFrame): from there on no good frame follows
        self.torn = False
        self.first_bad = None  # the first place that is no valid frame, and how many problems before


def next_frame_after(data, offset, sid, file):
    """The next place after a damaged frame at which a good frame of the session starts."""
    pos = offset
    while True:
        pos = data.find(FRAME_MAGIC_BYTES, pos + 1)
        if pos < 0:
            return None
        if data[pos + 24:pos + 40] == sid:
            try:
                parse_frame(data, pos, len(data), file)
                return pos
            except BadFrame:
                pass


def scan_part(file, data, sid, part):
    """Every frame of one part file: a pure function of its bytes and name. What comes after the last
    good frame is left to the caller in `broken`: it may be the torn end of an unsealed part."""
    scan = PartScan(file, len(data))
    raw_sid = sid_bytes(sid)
    pos = 0
    expect = None  # the next frame number
    while pos < len(data):
        try:
            f = parse_frame(data, pos, len(data), file)
        except BadFrame as bad:
            if scan.first_bad is None:
                scan.first_bad = (pos, len(scan.problems))
            after = next_frame_after(data, pos, raw_sid, file)
            if after is None:  # damage, or the torn end of a part: the caller knows
                scan.broken = (pos, bad)
                break
            if expect is None:  # nothing before says its number, so what follows does
                expect = max(0, struct.unpack_from("<Q", data, after + 40)[0] - 1)
            scan.problems.append((bad.text, bad.offset, expect))
            pos = after
            expect = None
            continue
        take_part_frame(scan, f, raw_sid, part, expect, data)
        expect = f.no + 1 if f.kind in TREE_KINDS else f.no
        pos += f.total()
    return scan


def take_part_frame(scan, f, raw_sid, part, expect, data):
    problem = functools.partial(lambda text, at: scan.problems.append((text, f.offset + at, expect)))
    if f.sid != raw_sid:
        problem("frame of another session (%s)" % sid_text(f.sid), 24)
        return
    if f.part != part:
        problem("frame says part %d, the file is part %d" % (f.part, part), 84)
    if expect is not None and f.no != expect:
        problem("frame number %d where %d was expected" % (f.no, expect), 40)
    if scan.trailer is not None:
        problem("a frame after the trailer", 0)
    elif f.kind == K_TRAILER:
        if scan.index is None:
            problem("a trailer without an index", 10)
        scan.trailer = (f, bytes(data[f.offset + FRAME_SIZE:f.offset + f.total()]))
    elif scan.index is not None:
        problem("a frame between index and trailer", 0)
    elif f.kind == K_INDEX:
        scan.index = (f, bytes(data[f.offset + FRAME_SIZE:f.offset + f.total()]))
    elif f.kind not in TREE_KINDS:
        problem("frame kind %d does not belong into a part" % f.kind, 10)
    if f.kind in TREE_KINDS:
        scan.frames.append(f)


def check_part_end(scan, root):
    """Recomputes index and trailer. root: of the session's frames from 0 to the end of the part, or
    None when earlier parts are not at hand. Yields (text, offset)."""
    frames = scan.frames
    first = frames[0].no if frames else None
    if scan.index is not None:
        f, body = scan.index
        yield from check_end_frame(f, frames)
        want = b"".join(struct.pack("<QQQ", x.offset, x.first_seq, x.wall_ns) for x in frames)
        if body != want:
            same = os.path.commonprefix([body, want])
            yield "the index does not fit the frames", f.offset + FRAME_SIZE + len(same)
    if scan.trailer is not None:
        f, body = scan.trailer
        yield from check_end_frame(f, frames)
        if len(body) != 72 or body[:8] != b"HSDEND01":
            yield "the trailer's body is not a trailer", f.offset + FRAME_SIZE
            return
        index_at, no, count, size = struct.unpack("<QQQQ", body[8:40])
        base = f.offset + FRAME_SIZE
        if scan.index is None or index_at != scan.index[0].offset:
            yield "the trailer's index offset does not fit", base + 8
        if not frames or no != first:
            yield "the trailer's first frame does not fit", base + 16
        if count != len(frames):
            yield "the trailer counts %d frames, the part has %d" % (count, len(frames)), base + 24
        if size != f.offset:
            yield "the trailer's size does not fit", base + 32
        if root is not None and root != body[40:]:
            yield "the trailer's root is not that of the session's frames", base + 40


def check_end_frame(f, frames):
    name = "index" if f.kind == K_INDEX else "trailer"
    if f.flags != 0 or f.n_events != 0 or f.command_root != EMPTY_ROOT:
        yield "the %s frame has flags, events or commands" % name, f.offset + 11
    if f.head[72:84] != b"\xff\xff" + bytes(10):
        yield "the %s frame has a ring or slot" % name, f.offset + 72
    if frames:
        last = frames[-1]
        if f.no != last.no + 1:
            yield "the %s frame's number does not fit" % name, f.offset + 40
        if f.first_seq != last.first_seq + (last.n_events if last.kind == K_DATA else 0):
            yield "the %s frame's first_seq does not fit" % name, f.offset + 48
        if f.wall_ns != last.wall_ns:
            yield "the %s frame's wall_ns is not that of the part's last frame" % name, f.offset + 56
        if f.mono_ns != last.mono_ns:
            yield "the %s frame's mono_ns is not that of the part's last frame" % name, f.offset + 64


# ---------------------------------------------------------------------------------------------
# Journal (record-format §8)

BLOCK = 4096
SECTOR = 512
ZERO_BLOCK = bytes(BLOCK)
SEGMENT_PATH = re.compile(r"journal/[0-9a-f]{8}\.seg\Z")
SEGMENT = struct.Struct("<8sIIQQ16s16sQQQIII")
BATCH = struct.Struct("<IIQQQ16sIIII")
BATCH_MAGIC = 0x31425348
BATCH_MAGIC_BYTES = b"HSB1"
assert SEGMENT.size == 100 and BATCH.size == 64


class Batch:
    def __init__(self, no, durable_upto, offset, end, frames):
        self.no, self.durable_upto, self.offset, self.end = no, durable_upto, offset, end
        self.frames = frames


class SegmentScan:
    """used: block 0 fits. batches: valid ones in order from the first. later: valid batches after
    the place (stop) at which the order ends. torn: something of a batch is at stop."""

    def __init__(self, file, size):
        self.file, self.size = file, size
        self.used = False
        self.number = self.first_batch = self.first_leaf = self.node = self.salt = None
        self.batches, self.later = [], []
        self.stop = None
        self.torn = False
        self.problems = []  # (text, offset)


def scan_segment(file, data):
    """A pure function of the bytes of one segment file."""
    scan = SegmentScan(file, len(data))
    block0 = data[:BLOCK]
    if block0 == ZERO_BLOCK or len(data) == 0:
        at = first_nonzero(data, BLOCK)
        if at is not None:
            scan.problems.append(("block 0 is empty, but the segment is not", at))
        return scan
    if len(block0) < BLOCK:
        scan.problems.append(("the segment is shorter than one block", len(data)))
        return scan
    (magic, version, block, size, number, node, salt, _wall, first_batch, first_leaf,
     suite, epoch, crc) = SEGMENT.unpack(block0[:100])
    if magic != b"HSDSEG01" or crc32c(block0[:96]) != crc:
        scan.problems.append(("block 0 of a used segment does not fit", 0))
        return scan
    if version != 1 or block != BLOCK or suite != 0 or epoch != 0:
        scan.problems.append(("block 0: version, block size or suite is not known", 8))
        return scan
    scan.used = True
    scan.number, scan.first_batch, scan.first_leaf = number, first_batch, first_leaf
    scan.node, scan.salt = node, salt
    if block0[100:] != ZERO_BLOCK[100:]:
        scan.problems.append(("bytes of block 0 that must be zero are not",
                              100 + first_nonzero(block0[100:], 0)))
    if size != len(data):
        scan.problems.append(("the segment has %d bytes, its block 0 says %d" % (len(data), size),
                              min(size, len(data))))
    scan_batches(scan, data)
    return scan


def first_nonzero(data, start):
    step = 1 << 20
    zeros = bytes(step)
    for pos in range(start, len(data), step):
        chunk = data[pos:pos + step]
        if chunk != zeros[:len(chunk)]:
            return pos + len(chunk) - len(chunk.lstrip(b"\0"))
    return None


def scan_batches(scan, data):
    pos, want = BLOCK, scan.first_batch
    while pos + BATCH.size <= len(data):
        batch = parse_batch(scan, data, pos)
        if batch is None or batch.no != want:
            break
        scan.batches.append(batch)
        pos, want = batch.end, want + 1
    scan.stop = pos
    head = data[pos:pos + BATCH.size]
    if len(head) == BATCH.size:
        ours = head[:4] == BATCH_MAGIC_BYTES
        scan.torn = head[32:48] == scan.salt or (ours and BATCH.unpack(head)[2] == want)
    while pos + BATCH.size <= len(data):
        if data[pos:pos + 4] == BATCH_MAGIC_BYTES and data[pos + 32:pos + 48] == scan.salt:
            batch = parse_batch(scan, data, pos)
            if batch is not None and batch.no >= want:
                scan.later.append(batch)
                pos = batch.end
                continue
        pos += BLOCK


def parse_batch(scan, data, pos):
    """The batch at pos, or None. Faults inside a valid batch go into scan.problems."""
    magic, size, no, durable, _mono, salt, count, epoch, zero, crc = BATCH.unpack(
        data[pos:pos + BATCH.size])
    if magic != BATCH_MAGIC or salt != scan.salt or size > len(data) - pos - BATCH.size:
        return None
    start = pos + BATCH.size
    end = start + size
    if crc32c(data[pos:pos + 60] + data[start:end]) != crc:
        return None
    padded = -(-end // BLOCK) * BLOCK
    if data[end:padded].strip(b"\0"):
        return None  # torn after its payload, or altered
    if epoch != 0 or zero != 0 or durable >= no + (no == 0):
        scan.problems.append(("batch %d: the header does not fit" % no, pos))
    frames = []
    at = start
    while at < end:
        try:
            f = parse_frame(data, at, end, scan.file)
            f.batch = no
            if f.kind == K_LOG:
                f.leaves = log_frame_leaves(f, data)
        except BadFrame as bad:
            scan.problems.append(("batch %d: %s" % (no, bad.text), bad.offset))
            break
        frames.append(f)
        at += f.total()
    if at == end and len(frames) != count:
        scan.problems.append(("batch %d counts %d frames and has %d" % (no, count, len(frames)),
                              pos + 48))
    return Batch(no, durable, pos, padded, frames)


def log_frame_leaves(f, data):
    start = f.offset + FRAME_SIZE
    body = data[start:start + f.body_len]
    if f.sid != LOG_SID or f.first_seq != f.no:
        raise BadFrame("log frame: sid or first_seq does not fit", f.offset + 24)
    if f.flags & F_ENCRYPTED:
        raise BadFrame("log frame is encrypted", f.offset + 11)
    if f.flags & F_COMPRESSED:
        body = unzstd(body, f.raw_len)
        if body is None:
            raise BadFrame("log frame cannot be decompressed", f.offset)
    leaves = parse_bundle(body[16:], start + 16)
    if len(body) < 16 or len(leaves) != f.n_events:
        raise BadFrame("log frame: %d leaves, header says %d" % (len(leaves), f.n_events),
                       f.offset + 20)
    return leaves


class Journal:
    """All segments together."""

    def __init__(self):
        self.frames = {}   # (sid bytes, frame_no): Frame
        self.ends = []     # index and trailer frames, when journalled
        self.leaves = {}   # log index: (bytes, file, offset)
        self.next_batch = 0
        self.segments = self.batches = 0
        self.node = None
        self.first_leaf = 0  # of the lowest segment
        self.next_leaf = 0  # leaves in all valid batches, and in all before the journal
        self.tail = None   # (file, offset) at which the order ends
        self.torn = False


def read_journal(store, paths, report):
    names = [p for p in paths if SEGMENT_PATH.match(p)]
    return join_segments([scan_segment(p, store.read(p) or b"") for p in names], report)


def join_segments(scans, report):
    journal = Journal()
    for scan in scans:
        for text, offset in scan.problems:
            report.error(text, file=scan.file, offset=offset)
    used = sorted((s for s in scans if s.used), key=lambda s: s.number)
    want = used[0].first_batch if used else 0
    journal.first_leaf = journal.next_leaf = used[0].first_leaf if used else 0
    for i, scan in enumerate(used):
        if i > 0 and scan.number != used[i - 1].number + 1:
            report.error("segment number %d follows %d" % (scan.number, used[i - 1].number),
                         file=scan.file, offset=24)
        if journal.node is not None and scan.node != journal.node:
            report.error("the segment is of another node", file=scan.file, offset=32)
        journal.node = scan.node
        if scan.first_batch != want:
            hurt = used[i - 1]
            report.error("batches %d to %d are missing: the next segment begins with batch %d"
                         % (want, scan.first_batch - 1, scan.first_batch)
                         if scan.first_batch > want else
                         "the next segment begins with batch %d again" % scan.first_batch,
                         file=hurt.file, offset=hurt.stop)
        elif scan.first_leaf != journal.next_leaf:
            report.error("block 0 counts %d log leaves before the segment, there are %d"
                         % (scan.first_leaf, journal.next_leaf), file=scan.file, offset=80)
        # After a torn batch, or one whose write failed, the gateway goes on in a new segment with the
        # number of that batch: it does not count, even if it is there whole.
        following = used[i + 1].first_batch if i + 1 < len(used) else None
        batches, later = scan.batches, scan.later
        again = [b for b in batches if following is not None and b.no >= following >= scan.first_batch]
        if again:
            report.add("note", "batch %d was written again in the next segment" % following,
                       file=scan.file, offset=again[0].offset)
            batches, later = batches[:len(batches) - len(again)], []
        want = scan.first_batch + len(batches)
        if following == want:
            later = []
            if scan.torn:
                report.add("note", "remains of a torn batch", file=scan.file, offset=scan.stop)
        for batch in batches + later:
            take_batch(journal, batch, report)
        judge_later(scan, later, want, report)
        if later:
            want = max(want, max(b.no for b in later) + 1)
    journal.segments, journal.next_batch = len(used), want
    if used:
        journal.tail = (used[-1].file, used[-1].stop)
        journal.torn = used[-1].torn and not used[-1].later
    return journal


def judge_later(scan, found, want, report):
    """Rule 2 of §8: a batch is written only when the one before is durable."""
    if found:
        report.error("batch %d is altered or missing, and batch %d stands behind it: it had been durable"
                     % (want, found[0].no), file=scan.file, offset=scan.stop)


def take_batch(journal, batch, report):
    journal.batches += 1
    for f in batch.frames:
        if f.kind == K_LOG:
            if f.no != journal.next_leaf:
                report.error("log frame begins with leaf %d where %d was expected"
                             % (f.no, journal.next_leaf), file=f.file, offset=f.offset + 40)
            journal.next_leaf = f.no + len(f.leaves)
            for i, (offset, leaf) in enumerate(f.leaves):
                old = journal.leaves.get(f.no + i)
                if old is not None and old[0] != leaf:
                    report.error("log leaf %d is in the journal twice and differs (also %s byte %d)"
                                 % (f.no + i, old[1], old[2]), file=f.file, offset=offset)
                journal.leaves.setdefault(f.no + i, (leaf, f.file, offset))
        elif f.kind in TREE_KINDS:
            old = journal.frames.setdefault((f.sid, f.no), f)
            if old.head != f.head:
                report.error("the journal has this frame twice and they differ (also %s byte %d)"
                             % (old.file, old.offset), file=f.file, offset=f.offset,
                             session=sid_text(f.sid), frame=f.no)
        else:
            journal.ends.append(f)


# ---------------------------------------------------------------------------------------------
# Key and checkpoint (record-format §9; C2SP signed note)


class Key:
    def __init__(self, text, source):
        self.text, self.source = text, source
        bits = text.split("+", 2)
        blob = canonical_base64(bits[2]) if len(bits) == 3 else None
        if blob is None or len(blob) != 33 or blob[0] != 1 or not re.match(r"[^\s+]+\Z", bits[0]):
            raise ValueError("not a verifier key (name+id+base64)")
        self.name, self.public = bits[0], blob[1:]
        self.id = sha256(self.name.encode() + b"\n" + blob)[:4]
        if bits[1] != self.id.hex():
            raise ValueError("the verifier key's id does not fit its name and key")


def ed25519_verify(public, message, signature):
    """By the openssl command: True or False; Cannot when there is no openssl."""
    if shutil.which("openssl") is None:
        raise Cannot("the openssl command is needed to check signatures")
    der = bytes.fromhex("302a300506032b6570032100") + public
    with tempfile.TemporaryDirectory(prefix="hansard-verify-") as tmp:
        names = [os.path.join(tmp, n) for n in ("key", "message", "signature")]
        for name, data in zip(names, (der, message, signature)):
            with open(name, "wb") as f:
                f.write(data)
        done = subprocess.run(
            ["openssl", "pkeyutl", "-verify", "-pubin", "-keyform", "DER", "-inkey", names[0],
             "-rawin", "-in", names[1], "-sigfile", names[2]],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    said = done.stdout.decode("utf-8", "replace")
    if done.returncode == 0 and "Verified Successfully" in said:
        return True
    if "Verification Failure" in said:
        return False
    raise Cannot("openssl cannot check an Ed25519 signature: " + clean(said.strip()[:200]))


class Checkpoint:
    def __init__(self, origin, size, root):
        self.origin, self.size, self.root = origin, size, root


def parse_checkpoint(data, key):
    """(Checkpoint, None) or (None, (why, offset)). With a key the signature is checked too."""
    head, sep, tail = data.partition(b"\n\n")
    message = head + b"\n"
    try:
        lines = message.decode("utf-8").split("\n")[:-1]
        notes = tail.decode("utf-8")
    except UnicodeDecodeError as bad:
        return None, ("the checkpoint is not UTF-8", bad.start)
    if not sep or len(lines) != 3 or not lines[0]:
        return None, ("the checkpoint is not origin, size, root, and signatures", 0)
    at_size = len(lines[0].encode()) + 1
    if not re.match(r"(0|[1-9][0-9]{0,18})\Z", lines[1]):
        return None, ("the checkpoint's size is not a plain decimal number", at_size)
    root = canonical_base64(lines[2])
    at_root = at_size + len(lines[1]) + 1
    if root is None or len(root) != 32:
        return None, ("the checkpoint's root is not canonical base64 of a hash", at_root)
    note = Checkpoint(lines[0], int(lines[1]), root)
    why = check_signatures(note, message, notes, len(message) + 1, key)
    return (note, None) if why is None else (None, why)


def check_signatures(note, message, notes, base, key):
    """None, or (why, offset)."""
    if not notes.endswith("\n"):
        return "the checkpoint does not end with a line end", base + len(notes.encode())
    signed = False
    pos = base
    for line in notes[:-1].split("\n"):
        m = re.match("\u2014 ([^\\s+]+) ([A-Za-z0-9+/=]+)\\Z", line)
        blob = canonical_base64(m.group(2)) if m else None
        if blob is None or len(blob) < 5:
            return "a line of the checkpoint is not a signature in canonical base64", pos
        if key is not None and m.group(1) == key.name and blob[:4] == key.id:
            if signed:
                return "the checkpoint has two signatures by one key", pos
            if len(blob) != 68 or not ed25519_verify(key.public, message, blob[4:]):
                return "the checkpoint's signature is false", pos
            signed = True
        pos += len(line.encode()) + 1
    if key is None:
        return None
    if not signed:
        return ("the checkpoint is not signed with the key %s+%s (%s)"
                % (key.name, key.id.hex(), key.source), base)
    if note.origin != key.name:
        return "the checkpoint's origin is not the key's name", 0
    return None


# ---------------------------------------------------------------------------------------------
# Leaves of the node log (record-format §9)

U64 = "u64"
HEX32, SID, NODE, TEXT, BOOL, GREW = "hash", "sid", "node", "text", "bool", "grew"
LEAVES = {
    "boot": (("wall", U64), ("node", NODE), ("boot", TEXT), ("version", TEXT)),
    "open": (("sid", SID), ("wall", U64), ("leaf", HEX32)),
    "head": (("wall", U64), ("batch", U64), ("grew", GREW)),
    "seal": (("sid", SID), ("wall", U64), ("part", U64), ("first", U64), ("frames", U64),
             ("root", HEX32)),
    "close": (("sid", SID), ("wall", U64), ("frames", U64), ("parts", U64), ("root", HEX32),
              ("reason", TEXT), ("gap", BOOL)),
    "gap": (("sid", SID), ("wall", U64), ("after_seq", U64), ("reason", TEXT)),
    "stop": (("wall", U64), ("boot", TEXT), ("batch", U64)),
}


FORMS = {HEX32: re.compile(r"[0-9a-f]{64}\Z"), NODE: re.compile(r"[0-9a-f]{32}\Z"), SID: SID_TEXT,
         TEXT: re.compile(r"[ !#-\[\]-~]{0,128}\Z")}


def fits(value, form):
    if form == U64:
        return type(value) is int and 0 <= value < 1 << 64
    if form == BOOL:
        return type(value) is bool
    if form == GREW:
        return type(value) is list and value != [] and all(
            type(g) is list and len(g) == 3 and fits(g[0], SID) and fits(g[1], U64)
            and g[1] > 0 and fits(g[2], HEX32) for g in value)
    return type(value) is str and FORMS[form].match(value) is not None


def parse_leaf(raw):
    """The members as a dict, or ValueError. Other members, another order, white space: refused."""
    try:
        pairs = json.loads(raw.decode("utf-8"), object_pairs_hook=list)
    except (ValueError, RecursionError):
        raise ValueError("the leaf is not JSON") from None
    if type(pairs) is not list or not all(type(p) is tuple for p in pairs) or not pairs:
        raise ValueError("the leaf is not a JSON object")
    kind = pairs[0][1] if pairs[0][0] == "t" else None
    if type(kind) is not str or kind not in LEAVES:
        raise ValueError("the leaf is of no known kind")
    form = LEAVES[kind]
    if [p[0] for p in pairs[1:]] != [f[0] for f in form]:
        raise ValueError("a %s leaf has other members, or in another order" % kind)
    for (name, value), (_, kind_of) in zip(pairs[1:], form):
        if not fits(value, kind_of):
            raise ValueError("%s leaf: %s does not fit" % (kind, name))
    leaf = dict(pairs)
    compact = json.dumps(leaf, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "replace")
    if compact != raw:
        raise ValueError("the leaf is not compact JSON")
    return leaf


class SessionLog:
    """What the log says of one session. Claims: (frames, root, log index, what)."""

    def __init__(self):
        self.open = self.close = None  # (index, leaf)
        self.claims = []
        self.grown = 0                 # frames of the last head
        self.seals = []                # (index, leaf)
        self.gaps = []


class NodeLog:
    def __init__(self):
        self.raw = []          # leaf bytes
        self.where = []        # (file, offset)
        self.parsed = []
        self.sessions = {}     # sid text: SessionLog
        self.signed = 0        # leaves under the checkpoint
        self.root_fits = None  # whether they are those that were signed; None when nobody says
        self.signed_batch = None
        self.node = None
        self.ends = []         # indices of boot and stop leaves


TILE_PATH = re.compile(r"log/tile/(entries|0|[1-9][0-9]?)/((?:x\d{3}/)*\d{3})(?:\.p/([1-9]\d{0,2}))?\Z")


def tile_place(path):
    """(level or 'entries', N, width) or None."""
    m = TILE_PATH.match(path)
    if m is None:
        return None
    groups = m.group(2).replace("x", "").split("/")
    if len(groups) > 1 and groups[0] == "000":
        return None
    width = 256 if m.group(3) is None else int(m.group(3))
    if m.group(3) is not None and width > 255:
        return None
    level = m.group(1) if m.group(1) == "entries" else int(m.group(1))
    if level != "entries" and level > 7:
        return None
    return level, int("".join(groups)), width


def read_tiles(store, paths, report):
    """{(level, N): [(width, path, data)]}, bundles under 'entries'."""
    tiles = {}
    for path in paths:
        place = tile_place(path)
        if place is None:
            continue
        data = store.read(path)
        if data is None:  # a fuller one replaced it meanwhile
            path, data = fuller_tile(store, path)
        if data is None:
            continue
        level, n, width = tile_place(path)
        if level != "entries" and len(data) != 32 * width:
            report.error("a tile of %d hashes has %d bytes" % (width, len(data)), file=path,
                         offset=min(len(data), 32 * width))
            data = data[:len(data) // 32 * 32]
        tiles.setdefault((level, n), []).append((width, path, data))
    for found in tiles.values():
        found.sort()
    return tiles


def fuller_tile(store, path):
    stem = path.split(".p/")[0]
    again = [p for p, _ in store.paths() if p == stem or p.startswith(stem + ".p/")]
    for p in sorted(again, key=lambda p: tile_place(p)[2] if tile_place(p) else 0, reverse=True):
        data = store.read(p)
        if data is not None:
            return p, data
    return path, None


def gather_leaves(tiles, journal, report):
    """The union of bundles and journal: {index: (bytes, file, offset)}, and how many leaves the
    bundles have from 0 on."""
    leaves = {}
    bundled = set()
    for (level, n), found in sorted(tiles.items(), key=str):
        if level != "entries":
            continue
        for width, path, data in found:
            try:
                entries = parse_bundle(data, 0)
            except BadFrame as bad:
                report.error("entry bundle: " + bad.text, file=path, offset=bad.offset)
                continue
            if len(entries) != width:
                report.error("a bundle of %d entries has %d" % (width, len(entries)), file=path,
                             offset=len(data))
            for i, (offset, leaf) in enumerate(entries[:width]):
                index = n * 256 + i
                bundled.add(index)
                old = leaves.setdefault(index, (leaf, path, offset))
                if old[0] != leaf:
                    report.error("log leaf %d differs from %s byte %d" % (index, old[1], old[2]),
                                 file=path, offset=offset)
    for index, entry in journal.leaves.items():
        old = leaves.setdefault(index, entry)
        if old[0] != entry[0]:
            report.error("log leaf %d differs from the journal (%s byte %d)"
                         % (index, entry[1], entry[2]), file=old[1], offset=old[2])
    return leaves, bundled


def build_log(leaves, report):
    log = NodeLog()
    while len(log.raw) in leaves:
        raw, file, offset = leaves[len(log.raw)]
        log.raw.append(raw)
        log.where.append((file, offset))
    if len(leaves) > len(log.raw):
        after = min(i for i in leaves if i > len(log.raw))
        report.error("log leaf %d is missing; the next one there is %d" % (len(log.raw), after),
                     file=leaves[after][1], offset=leaves[after][2])
    return log


def check_tiles(tiles, log, bundled, journal, report):
    """Every hash of every tile, on every level, against the leaves; and that none is missing."""
    hashes = [leaf_hash(x) for x in log.raw]
    # Leaves that only the journal has are not in tiles yet. All before them must be.
    settled = min(journal.leaves) if journal.leaves else len(hashes)
    settled = min(settled, len(hashes))
    settled = max(settled, 0)
    for i in range(settled):
        if i not in bundled:
            report.error("log leaf %d is in no entry bundle" % i, file="log/tile/entries")
            break
    level = 0
    top = max([lv for lv, _ in tiles if lv != "entries"], default=-1)
    span = 1
    while level <= top or settled // span > 0:
        have = check_level(tiles, level, hashes, log, report)
        lacking = [i for i in range(settled // span) if i not in have]
        behind = [i for i in range(max(have, default=-1)) if i not in have]
        for i in (lacking or behind)[:1]:
            report.error("hash %d of level %d is in no tile" % (i, level),
                         file="log/tile/%d" % level)
        hashes = [tree_root(hashes[i:i + 256]) for i in range(0, len(hashes) // 256 * 256, 256)]
        level += 1
        span *= 256


def check_level(tiles, level, hashes, log, report):
    have = set()
    for (lv, n), found in tiles.items():
        if lv != level:
            continue
        for _, path, data in found:
            for i in range(len(data) // 32):
                index = n * 256 + i
                have.add(index)
                if index >= len(hashes):
                    report.error("tile hash %d of level %d is beyond the log (%d)"
                                 % (index, level, len(hashes)), file=path, offset=32 * i)
                    break
                if data[32 * i:32 * i + 32] == hashes[index]:
                    continue
                if level == 0 and log.root_fits is False:
                    file, offset = log.where[index]
                    report.error("log leaf %d is not the one of its hash (%s byte %d)"
                                 % (index, path, 32 * i), file=file, offset=offset)
                else:
                    report.error("tile hash %d of level %d is not that of the entries"
                                 % (index, level), file=path, offset=32 * i)
    return have


def read_leaves(log, report):
    """Syntax and order of the leaves; what they say of each session."""
    def session(sid):
        return log.sessions.setdefault(sid, SessionLog())

    for index, raw in enumerate(log.raw):
        file, offset = log.where[index]
        try:
            leaf = parse_leaf(raw)
        except ValueError as bad:
            report.error("log leaf %d: %s" % (index, bad), file=file, offset=offset)
            log.parsed.append(None)
            continue
        log.parsed.append(leaf)
        kind = leaf["t"]
        bad = functools.partial(report.error, file=file, offset=offset)
        if kind in ("boot", "stop"):
            log.ends.append(index)
        if kind == "boot":
            if log.node not in (None, leaf["node"]):
                bad("log leaf %d: a boot of another node" % index)
            log.node = leaf["node"]
        if kind in ("head", "stop") and index < log.signed:
            log.signed_batch = max(log.signed_batch or 0, leaf["batch"])
        if kind == "head":
            for sid, frames, root in leaf["grew"]:
                take_claim(session(sid), sid, frames, root, index, "head", bad)
        elif "sid" in leaf:
            take_leaf(session(leaf["sid"]), leaf, index, bad)


def take_leaf(s, leaf, index, bad):
    sid, kind = leaf["sid"], leaf["t"]
    if kind == "open":
        if s.open is not None:
            bad("log leaf %d opens the session again" % index, session=sid)
        s.open = s.open or (index, leaf)
        return
    if kind == "close":
        take_claim(s, sid, leaf["frames"], leaf["root"], index, "close", bad)
        if s.close is not None:
            bad("log leaf %d closes the session again" % index, session=sid)
        s.close = s.close or (index, leaf)
        return
    if s.open is None:
        bad("log leaf %d comes before the session's open leaf" % index, session=sid)
    if kind == "seal":
        s.claims.append((leaf["first"] + leaf["frames"], leaf["root"], index, "seal"))
        if any(x["part"] == leaf["part"] for _, x in s.seals):
            bad("log leaf %d seals part %d again" % (index, leaf["part"]), session=sid)
        s.seals.append((index, leaf))
    elif kind == "gap":
        s.gaps.append((index, leaf))


def take_claim(s, sid, frames, root, index, what, bad):
    if s.open is None:
        bad("log leaf %d comes before the session's open leaf" % index, session=sid)
    if frames < s.grown:
        bad("log leaf %d has the session at %d frames, an earlier one at %d"
            % (index, frames, s.grown), session=sid)
    s.grown = max(s.grown, frames)
    if s.close is not None and frames > s.close[1]["frames"]:
        bad("log leaf %d lets the session grow after its close" % index, session=sid)
    s.claims.append((frames, root, index, what))


def check_checkpoint(log, note, report):
    """That the leaves are those that were signed."""
    if note.size > len(log.raw):
        report.error("the checkpoint covers %d log leaves, only %d are here: truncated at leaf %d"
                     % (note.size, len(log.raw), len(log.raw)), file="log/checkpoint")
        return
    root = tree_root([leaf_hash(x) for x in log.raw[:note.size]])
    log.root_fits = root == note.root
    if not log.root_fits:
        report.error("the root of the first %d log leaves is not the one in the checkpoint"
                     % note.size, file="log/checkpoint")
        return
    log.signed = note.size


# ---------------------------------------------------------------------------------------------
# Sessions

COMPLETE, OPEN, GAP, TRUNCATED, ALTERED, MISSING = (
    "complete", "open", "gap", "truncated", "altered", "missing")
WORDS = {
    COMPLETE: "complete as received by this gateway",
    OPEN: "open: complete so far",
    GAP: "has a gap, recorded as such",
    TRUNCATED: "truncated",
    ALTERED: "altered",
    MISSING: "missing",
}


class Session:
    """One session while it is being checked."""

    def __init__(self, sid, entry, parts, journal_frames, report):
        self.sid, self.log, self.parts, self.journal = sid, entry, parts, journal_frames
        self.report = report
        self.frames = []         # the union, 0 … as far as it goes
        self.first_bad = None    # (frame, file, offset)
        self.truncated = None
        self.signed_frames = 0

    def bad(self, text, frame=None, file=None, offset=None):
        self.report.error(text, session=self.sid, frame=frame, file=file, offset=offset)
        before = self.first_bad
        if before is None or frame is not None and (before[0] is None or frame < before[0]):
            self.first_bad = (frame, file, offset)


def check_session(sid, entry, parts, journal_frames, ctx):
    """ctx: what is the same for all sessions. Returns the session's dict of the report."""
    s = Session(sid, entry, parts, journal_frames, ctx.report)
    settle_torn(s, ctx)
    for part, scan in sorted(s.parts.items()):
        for text, offset, frame in scan.problems:
            s.bad(text, frame, scan.file, offset)
        if scan.broken is not None:
            at, why = scan.broken
            no = scan.frames[-1].no + 1 if scan.frames else None
            s.bad(why.text, no, scan.file, why.offset if why.offset != at or not why.short else at)
    unite(s)
    check_order(s)
    check_claims(s, ctx)
    check_parts(s, ctx)
    check_close(s, ctx)
    return verdict(s, ctx)


def seal_leaf(s, part):
    """(index, leaf) of the part's seal leaf, or None."""
    seals = s.log.seals if s.log is not None else []
    return next((x for x in seals if x[1]["part"] == part), None)


def may_be_torn(s, part, ctx):
    """§7: a part without a seal leaf, or whose seal leaf still stands in the journal."""
    seal = seal_leaf(s, part)
    return seal is None or ctx.journal.segments > 0 and seal[0] >= ctx.journal.first_leaf


def settle_torn(s, ctx):
    """Parts of which a crash took what was written last: from the first place on that is no valid
    frame, nothing in the file counts. Needs the frames before, so parts are taken in order."""
    front = Frontier()
    for part, scan in sorted(s.parts.items()):
        while (no := front.size) in s.journal and s.journal[no].part < part:
            front.append(s.journal[no].leaf())
        first = front.size
        at = scan.first_bad[0] if scan.first_bad is not None else scan.size
        good = [f for f in scan.frames if f.offset < at]
        for f in good:
            front.append(f.leaf())
        ended = scan.trailer is not None and scan.trailer[0].offset < at
        if [f.no for f in good] == list(range(first, first + len(good))) and not ended \
                and (scan.first_bad is not None or scan.index is not None or seal_leaf(s, part)) \
                and may_be_torn(s, part, ctx) and is_torn(s, part, scan, (at, first, good, front)):
            ctx.report.add("warn", "the part ends torn, as a crash leaves it; nothing is missing from "
                           "the record", session=s.sid, frame=front.size, file=scan.file, offset=at)
            scan.torn = True
            scan.frames, scan.broken = good, None
            if scan.first_bad is not None:
                del scan.problems[scan.first_bad[1]:]
            if scan.index is not None and scan.index[0].offset >= at:
                scan.index = None
            scan.trailer = None
        front_journal(front, s, part)


def front_journal(front, s, part):
    """Frames of the part that only the journal has."""
    out = []
    while front.size in s.journal and s.journal[front.size].part == part:
        out.append(s.journal[front.size])
        front.append(out[-1].leaf())
    return out


def is_torn(s, part, scan, before):
    """Is what stands from `at` on what should follow, but for what never reached the disk?"""
    at, first, good, front = before
    rest = s.report.store.read_range(scan.file, at, scan.size - at)
    whole = Frontier()
    whole.size, whole.stack = front.size, list(front.stack)
    rows = [(f.offset, f.first_seq, f.wall_ns) for f in good]
    want, ends = b"", set()
    index_at = scan.index[0].offset if scan.index is not None and scan.index[0].offset < at else None
    added = front_journal(whole, s, part) if index_at is None else []
    for f in added:
        rows.append((at + len(want), f.first_seq, f.wall_ns))
        ends.add(len(want))
        want += s.report.store.read_range(f.file, f.offset, f.total())
    frames = good + added
    last = frames[-1] if frames else None
    seq = 1 if last is None else last.first_seq + (last.n_events if last.kind == K_DATA else 0)
    clocks = (last.wall_ns, last.mono_ns) if last is not None else (0, 0)
    if index_at is None:
        index_at = at + len(want)
        ends.add(len(want))
        want += end_frame(K_INDEX, s.sid, part, (whole.size, seq) + clocks,
                          b"".join(struct.pack("<QQQ", *r) for r in rows))
    ends.add(len(want))
    want += end_frame(K_TRAILER, s.sid, part, (whole.size, seq) + clocks, b"HSDEND01" + struct.pack(
        "<QQQQ", index_at, first, len(frames), at + len(want)) + whole.root())
    return len(rest) <= len(want) and pieces_fit(rest, want, at, ends)


def end_frame(kind, sid, part, place, body):
    """Index or trailer; place: frame_no, first_seq, wall_ns, mono_ns."""
    head = FRAME.pack(FRAME_MAGIC, 156 + len(body), 1, kind, 0, len(body), len(body), 0,
                      sid_bytes(sid), *place, 0xFFFF, 0, 0, 0, part, 0, 0, EMPTY_ROOT,
                      sha256(body), 0)[:160]
    return head + struct.pack("<I", crc32c(head + body)) + body


def pieces_fit(have, want, at, begins):
    """Each piece, cut at the ends of sectors and where frames begin, is as wanted, or an earlier state:
    right up to some place, zeros from there on. And something is lacking: such a piece, or the end."""
    lacking = len(have) < len(want)
    begins = sorted(begins) + [len(want)]
    pos = 0
    while pos < len(have):
        while begins[0] <= pos:
            begins.pop(0)
        end = min(len(have), begins[0], pos + SECTOR - (at + pos) % SECTOR)
        part = have[pos:end]
        if part != want[pos:end]:
            same = os.path.commonprefix([part, want[pos:end]])
            if part[len(same):].strip(b"\0"):
                return False
            lacking = True
        pos = end
    return lacking


def unite(s):
    """Frames by number, from parts and journal; where both have one they must be equal."""
    have = {}
    for _, scan in sorted(s.parts.items()):
        for f in scan.frames:
            old = have.setdefault(f.no, f)
            if old is not f and old.head != f.head:
                s.bad("frame is in two places and differs (also %s byte %d)"
                      % (old.file, old.offset), f.no, f.file, f.offset)
    for no, f in s.journal.items():
        old = have.setdefault(no, f)
        if old is not f and old.head != f.head:
            s.bad("frame differs from the journal (%s byte %d)" % (f.file, f.offset), no,
                  old.file, old.offset)
    while len(s.frames) in have:
        s.frames.append(have[len(s.frames)])
    beyond = [no for no in have if no > len(s.frames)]
    if beyond:
        f = have[min(beyond)]
        s.bad("frame %d is missing; the next one there is %d" % (len(s.frames), f.no),
              len(s.frames), f.file, f.offset)


def check_order(s):
    """What must hold between the frames of one session."""
    seq = 1
    part = 0
    for f in s.frames:
        if (f.kind == K_OPEN) != (f.no == 0):
            s.bad("the open frame must be the first and only the first", f.no, f.file, f.offset + 10)
        if f.part not in (part, part + 1):
            s.bad("part %d follows part %d" % (f.part, part), f.no, f.file, f.offset + 84)
        part = f.part
        if f.first_seq != seq:
            gap = f.no > 0 and s.frames[f.no - 1].kind == K_GAP
            if not gap or f.first_seq < seq:
                s.bad("events %d to %d are missing" % (seq, f.first_seq - 1)
                      if f.first_seq > seq else "event %d comes again" % f.first_seq,
                      f.no, f.file, f.offset + 48)
        seq = f.first_seq + (f.n_events if f.kind == K_DATA else 0)
        last = f.kind == K_CLOSE
        if last != bool(f.flags & F_LAST):
            s.bad("the flag for the last frame is wrong", f.no, f.file, f.offset + 11)
        if last and f.no != len(s.frames) - 1:
            s.bad("a frame after the close frame", f.no + 1, s.frames[f.no + 1].file,
                  s.frames[f.no + 1].offset)


def check_claims(s, ctx):
    """The roots that the log has for the session, in order of size: the first that does not fit
    says between which frames the alteration is."""
    if s.log is None:
        return
    leaves = [f.leaf() for f in s.frames]
    if s.log.open is not None and leaves and leaves[0].hex() != s.log.open[1]["leaf"]:
        s.bad("frame 0 is not the one of the log's open leaf %d" % s.log.open[0], 0,
              s.frames[0].file, s.frames[0].offset)
    roots = roots_at(leaves, [c[0] for c in s.log.claims])
    good = 0
    for frames, root, index, what in sorted(s.log.claims, key=lambda c: (c[0], c[2])):
        if frames not in roots:
            s.truncated = len(leaves)
            if s.first_bad is not None:
                break  # a damaged frame is why, and that was said
            f = s.frames[-1] if s.frames else None
            file, end = (f.file, f.offset + f.total()) if f is not None else (None, None)
            s.report.error("truncated: log leaf %d (%s) has %d frames, only %d are here"
                           % (index, what, frames, len(leaves)), session=s.sid,
                           frame=len(leaves), file=file, offset=end)
            break
        if roots[frames].hex() != root:
            f = s.frames[good] if good < frames else s.frames[frames - 1]
            where = "frames %d to %d" % (f.no, frames - 1) if frames - 1 > f.no else "this frame"
            s.bad("altered in %s: the root of %d frames is not that of log leaf %d (%s)"
                  % (where, frames, index, what), f.no, f.file, f.offset)
            break
        good = frames
        if index < ctx.log.signed:
            s.signed_frames = frames


def check_parts(s, ctx):
    ends = [scan.frames[-1].no + 1 for scan in s.parts.values() if scan.frames]
    roots = roots_at([f.leaf() for f in s.frames], ends)
    for part, scan in sorted(s.parts.items()):
        if scan.problems:
            continue  # what is damaged fits no index
        root = roots.get(scan.frames[-1].no + 1) if scan.frames else None
        for text, offset in check_part_end(scan, root):
            s.bad(text, scan.frames[-1].no + 1 if scan.frames else None, scan.file, offset)
        begin = next((f.no for f in s.frames if f.part == part), None)
        if scan.frames and begin is not None and begin < scan.frames[0].no:
            s.bad("the part lacks its first frames", begin, scan.file, 0)
        if scan.trailer is None and not scan.torn and part < max(s.parts):
            s.bad("the part has no trailer, and another part follows", None, scan.file, scan.size)
        if scan.size == 0:
            s.report.add("warn", "the part is empty", session=s.sid, file=scan.file, offset=0)
    if s.log is None:
        return
    for index, leaf in s.log.seals:
        check_seal(s, index, leaf, ctx)


def check_seal(s, index, leaf, ctx):
    part, first, count = leaf["part"], leaf["first"], leaf["frames"]
    file, offset = ctx.log.where[index]
    for f in s.frames[first:first + count]:
        if f.part != part:
            s.bad("log leaf %d has this frame in part %d" % (index, part), f.no, f.file,
                  f.offset + 84)
            break
    if first > 0 and first <= len(s.frames) and s.frames[first - 1].part == part \
            or first + count < len(s.frames) and s.frames[first + count].part == part:
        s.bad("log leaf %d does not have all frames of part %d" % (index, part), first, file, offset)
    scan = s.parts.get(part)
    if scan is not None and scan.trailer is not None:
        if not scan.problems and (len(scan.frames) != count
                                  or scan.frames and scan.frames[0].no != first):
            s.bad("the part has other frames than log leaf %d" % index, first, scan.file, 0)
        return
    # The leaf is durable first, the file catches up: until the journal lets go of the leaf (§7).
    name = scan.file if scan is not None else part_path(s.sid, part)
    text = "part %d is sealed in the log (leaf %d), but its file %s" % (
        part, index, "is not here" if scan is None else "has no trailer")
    where = {"session": s.sid, "file": name, "offset": scan.size if scan is not None else None}
    if first + count > len(s.frames):
        s.report.error(text, **where)  # and that frames are missing was said
    elif scan is not None and scan.torn:
        pass  # was said
    elif scan is None and may_be_torn(s, part, ctx) and part > max(s.parts, default=-1):
        s.report.add("warn", text + "; its frames are in the journal", **where)
    else:
        s.bad(text, first + count, name, where["offset"])


def part_path(sid, part):
    return "sessions/%s/%s.%04d.rec" % (sid_date(sid), sid, part)


def check_close(s, ctx):
    if s.log is None or s.log.close is None:
        return
    index, leaf = s.log.close
    n = leaf["frames"]
    if len(s.frames) > n:
        f = s.frames[n]
        s.bad("a frame after the close (log leaf %d has %d frames)" % (index, n), n, f.file, f.offset)
    elif len(s.frames) == n and n > 0:
        f = s.frames[-1]
        if f.kind != K_CLOSE:
            s.bad("the log closes the session, but its last frame is no close frame", f.no, f.file,
                  f.offset + 10)
        if f.part + 1 != leaf["parts"]:
            s.bad("log leaf %d has %d parts, the frames have %d" % (index, leaf["parts"], f.part + 1),
                  f.no, f.file, f.offset + 84)
    for part, scan in s.parts.items():
        if part >= leaf["parts"]:
            s.bad("a part after the last one (log leaf %d)" % index, n, scan.file, 0)


def verdict(s, ctx):
    out = {"sid": s.sid, "frames": len(s.frames), "signed_frames": s.signed_frames,
           "parts": len(s.parts), "signed": False}
    known = s.log is not None and s.log.open is not None
    if not known:
        check_unknown(s, ctx)
    closed = known and s.log.close is not None
    gap = known and (bool(s.log.gaps) or closed and s.log.close[1]["gap"]) \
        or any(f.kind == K_GAP for f in s.frames)
    if known and not s.frames and not s.parts:
        s.report.error("the log knows this session (leaf %d), and nothing of it is here"
                       % s.log.open[0], session=s.sid, frame=0)
        out["state"] = MISSING
    elif s.first_bad is not None:
        out["state"] = ALTERED
        out["at_frame"], out["file"], out["offset"] = s.first_bad
    elif s.truncated is not None:
        out["state"], out["at_frame"] = TRUNCATED, s.truncated
    elif gap:
        out["state"] = GAP
    else:
        out["state"] = COMPLETE if closed else OPEN
    out["closed"] = closed
    out["signed"] = closed and s.log.close[0] < ctx.log.signed
    if known:
        check_signed(s, closed, out["signed"], ctx)
    return out


def check_unknown(s, ctx):
    """A session that the log has not opened: what a crash leaves has its first frame in the journal,
    in a batch that no signed leaf names as durable yet. Any other is planted."""
    f = s.journal.get(0)
    if f is None and s.parts:
        s.bad("the log does not know this session", 0, s.parts[min(s.parts)].file, 0)
    elif f is not None and ctx.log.signed_batch is not None and f.batch <= ctx.log.signed_batch:
        s.bad("the log does not know this session, though it was signed after batch %d" % f.batch, 0,
              f.file, f.offset)
    elif f is not None:
        s.report.add("warn", "not in the log yet: nothing proves this session", session=s.sid,
                     frame=0, file=f.file, offset=f.offset)


def check_signed(s, closed, signed, ctx):
    """An end that nobody signed proves nothing; right after it happened that is no surprise."""
    if not ctx.log.root_fits or signed or not closed and s.log.open[0] < ctx.log.signed:
        return
    index, leaf = s.log.close if closed else s.log.open
    age = ctx.now - leaf["wall"]
    level = "warn" if -SIGNING_NS < age < SIGNING_NS else "unverifiable"
    file, offset = ctx.log.where[index]
    s.report.add(level, "the session's %s (log leaf %d) is not under the checkpoint, which covers %d"
                 " leaves%s" % (leaf["t"], index, ctx.log.signed, "" if level == "warn" else
                                "; whoever can write to the store can have made it"),
                 session=s.sid, file=file, offset=offset)


# ---------------------------------------------------------------------------------------------
# Contents (record-format §4, §5): only with --contents


def unzstd(data, raw_len):
    """Exactly raw_len bytes, or None. Cannot when there is no zstd."""
    if shutil.which("zstd") is None:
        raise Cannot("the zstd command is needed to look into compressed frames")
    with tempfile.TemporaryFile() as f:
        f.write(data)
        f.seek(0)
        with subprocess.Popen(["zstd", "-dcq", "-M64MiB"], stdin=f, stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL) as p:
            out = p.stdout.read(raw_len + 1)
            p.stdout.close()
            p.wait()
    return out if p.returncode == 0 and len(out) == raw_len else None


def raw_bodies(frames, store):
    """Yields (Frame, raw body or None, stored body). zstd runs once per 64 MiB of raw bytes."""
    batch, size = [], 0
    for f in frames + [None]:
        if f is None or size > 64 << 20:
            yield from decompress(batch)
            batch, size = [], 0
        if f is not None and not f.flags & F_ENCRYPTED:
            batch.append((f, store.read_range(f.file, f.offset + FRAME_SIZE, f.body_len)))
            size += f.raw_len


def decompress(batch):
    packed = [(f, body) for f, body in batch if f.flags & F_COMPRESSED and sha256(body) == f.body_hash]
    plain = None
    if packed:
        plain = unzstd(b"".join(b for _, b in packed), sum(f.raw_len for f, _ in packed))
    pos = 0
    for f, body in batch:
        if sha256(body) != f.body_hash:
            yield f, None  # the journal went on meanwhile
        elif not f.flags & F_COMPRESSED:
            yield f, body
        elif plain is None:
            yield f, unzstd(body, f.raw_len)  # one of them is wrong: find out which
        else:
            yield f, plain[pos:pos + f.raw_len]
            pos += f.raw_len


class Bytes:
    """A reader over one event; raises ValueError at the first thing that is not as specified."""

    def __init__(self, data):
        self.data, self.pos = data, 0

    def take(self, n):
        if len(self.data) - self.pos < n:
            raise ValueError("an event is too short")
        self.pos += n
        return self.data[self.pos - n:self.pos]

    def u8(self):
        return self.take(1)[0]

    def varint(self):
        value = shift = 0
        while True:
            b = self.u8()
            value |= (b & 0x7F) << shift
            shift += 7
            if b < 0x80:
                break
        if value >= 1 << 64 or (b == 0 and shift > 7):
            raise ValueError("a number is too long or not in its shortest form")
        return value

    def svarint(self):
        n = self.varint()
        return (n >> 1) ^ -(n & 1)

    def rest(self):
        return self.take(len(self.data) - self.pos)


E_RAW, E_DROPPED, E_REDACTED, E_INJECTED, E_FORWARDED, E_COMMAND, E_FACT, E_END, E_HIDDEN, \
    E_DIGEST, E_WITHHELD = range(1, 12)
COMMAND_NUMBERS = ("c_off", "c_len", "text_off", "text_len", "t_off", "t_len", "rows", "row_bytes")


def parse_event(data):
    """One event without its length: a dict."""
    r = Bytes(data)
    e = {"type": r.u8(), "flags": r.u8(), "dt": r.svarint()}
    kind = e["type"]
    if e["flags"] & ~3:
        raise ValueError("an event has unknown flags")
    if kind in (E_DROPPED, E_REDACTED, E_INJECTED, E_HIDDEN):
        e["why"] = r.u8()
    if kind in (E_RAW, E_DROPPED, E_REDACTED, E_INJECTED, E_FORWARDED, E_HIDDEN):
        e["offset"] = r.varint()
        if kind in (E_REDACTED, E_HIDDEN):
            e["length"] = r.varint()
            if kind == E_HIDDEN:
                e["mac"] = r.take(16)
                if not 0 < e["length"] <= 65536:
                    raise ValueError("a hidden event of %d bytes" % e["length"])
        elif kind != E_FORWARDED:
            e["bytes"] = r.rest()
            e["length"] = len(e["bytes"])
    elif kind in (E_DIGEST, E_WITHHELD):
        e["offset"], e["length"], e["rows"] = r.varint(), r.varint(), r.varint()
        if not 0 < e["length"] <= 65536:
            raise ValueError("an event of type %d of %d bytes" % (kind, e["length"]))
        if kind == E_DIGEST:
            e["digest"] = r.take(32)
    elif kind == E_COMMAND:
        e["kind"], e["status"] = r.u8(), r.u8()
        e["verb"], e["sqlstate"] = r.take(r.varint()), r.take(5)
        e["text_hash"] = r.take(32)
        for name in COMMAND_NUMBERS:
            e[name] = r.varint()
        e["received"], e["done"] = r.svarint(), r.svarint()
    elif kind == E_FACT:
        e["name"], e["value"] = r.take(r.varint()), r.rest()
    elif kind == E_END:
        e["code"], e["reason"] = r.svarint(), r.take(r.varint())
        e["streams"] = [r.varint() for _ in range(4)]
    else:
        raise ValueError("an event of unknown type %d" % kind)
    if r.pos != len(data):
        raise ValueError("an event has bytes left over")
    return e


def walk_events(raw):
    """[(bytes after the length, event)] of a raw data body. What is in an event is the worker's: one
    that does not decode has type 'bad' and proves nothing."""
    r = Bytes(raw)
    r.take(16)
    out = []
    while r.pos < len(raw):
        data = r.take(r.varint())
        try:
            out.append((data, parse_event(data)))
        except ValueError as why:
            out.append((data, {"type": "bad", "why": str(why)}))
    return out


def command_salt(frame_salt, i):
    return sha256(b"hansard/v1 command salt" + frame_salt + struct.pack("<I", i))[:16]


def command_leaves(raw, events):
    """[(command leaf, salt, event bytes, index of the event)]."""
    out = []
    for index, (data, e) in enumerate(events):
        if data[:1] == bytes([E_COMMAND]):
            salt = command_salt(raw[:16], len(out))
            out.append((leaf_hash(salt + data), salt, data, index))
    return out


class Streams:
    """The four byte streams: every byte of each is accounted for once, in order."""

    def __init__(self):
        self.at = [0, 0, 0, 0]

    def take(self, e):
        if e["type"] == "bad":
            return e["why"]
        kind, stream = e["type"], e["flags"] & 3
        legal = {E_RAW: (0, 2), E_DROPPED: (0, 2), E_REDACTED: (0, 1, 2, 3), E_INJECTED: (1, 3),
                 E_FORWARDED: (1, 3), E_HIDDEN: (0, 2), E_DIGEST: (2,), E_WITHHELD: (2,)}.get(kind)
        if legal is None:
            return "the end says other stream lengths" if kind == E_END \
                and e["streams"] != self.at else None
        if stream not in legal:
            return "an event of type %d is in stream %s" % (kind, "CUTR"[stream])
        if kind == E_FORWARDED:
            return "more was forwarded than there was" if e["offset"] > self.at[stream] else None
        fits_here = e["offset"] == self.at[stream]
        self.at[stream] = e["offset"] + e["length"]
        if kind in (E_RAW, E_HIDDEN, E_DIGEST, E_WITHHELD):
            self.at[stream + 1] += e["length"]
        return None if fits_here else "stream %s goes on at %d" % ("CUTR"[stream], e["offset"])


def check_contents(sid, frames, store, report):
    streams = Streams()
    seen = {"events": 0, "commands": 0,
            "all": not any(f.flags & F_ENCRYPTED for f in frames)}
    for f, raw in raw_bodies(frames, store):
        bad = functools.partial(report.error, session=sid, frame=f.no, file=f.file, offset=f.offset)
        if raw is None:
            bad("the body cannot be decompressed to %d bytes" % f.raw_len)
            continue
        if len(raw) < 16:
            bad("the body has no salt")
        elif f.kind == K_DATA:
            check_data(f, raw, streams, seen, bad, report, sid)
        else:
            check_json(f, raw, streams, seen, bad)


def check_data(f, raw, streams, seen, bad, report, sid):
    try:
        events = walk_events(raw)
    except ValueError as why:
        bad(str(why))
        return
    if len(events) != f.n_events:
        bad("the header counts %d events, the body has %d" % (f.n_events, len(events)))
    leaves = command_leaves(raw, events)
    if tree_root([x[0] for x in leaves]) != f.command_root:
        bad("command_root is not that of the frame's commands")
    seen["events"] += len(events)
    seen["commands"] += len(leaves)
    for i, (_, e) in enumerate(events):
        wrong = streams.take(e)
        if wrong:
            report.add("warn", "event %d: %s" % (f.first_seq + i, wrong), session=sid, frame=f.no,
                       file=f.file, offset=f.offset)


def check_json(f, raw, streams, seen, bad):
    if f.command_root != EMPTY_ROOT or f.n_events != 0:
        bad("a frame without events counts events or commands")
    if f.kind in (K_KEY, K_TOMBSTONE):
        return
    try:
        said = json.loads(raw[16:].decode("utf-8"))
    except (ValueError, RecursionError):
        bad("the body is not JSON")
        return
    if type(said) is not dict:
        bad("the body is not a JSON object")
    elif f.kind == K_CLOSE:
        have = {"events": seen["events"], "commands": seen["commands"]}
        if seen["all"] and not f.flags & F_RECOVERED and any(k in said and said[k] != v for k, v in have.items()):
            bad("the close frame counts other events or commands")


# ---------------------------------------------------------------------------------------------
# The whole store


class Context:
    def __init__(self, report, log, journal, now):
        self.report, self.log, self.journal, self.now = report, log, journal, now


def read_node(store, report):
    """node.json: nothing in it is believed; it only must not contradict."""
    data = store.read("node.json")
    if data is None:
        # It is on the disk before the first segment is in use.
        report.add("error" if store.paths() else "warn", "there is no node.json", file="node.json")
        return {}
    try:
        node = json.loads(data.decode("utf-8"))
    except (ValueError, RecursionError):
        node = None
    if type(node) is not dict or node.get("format") != 1 or not fits(node.get("node"), NODE) \
            or type(node.get("origin")) is not str or type(node.get("vkey")) is not str:
        report.error("node.json is not what it should be", file="node.json", offset=0)
        return {}
    return node


def choose_key(given, node, report):
    found = None
    if node:
        try:
            found = Key(node["vkey"], "found in the store")
        except ValueError as bad:
            report.error("vkey: %s" % bad, file="node.json")
        if found is not None and found.name != node["origin"]:
            report.error("origin and vkey do not fit each other", file="node.json")
    if given is None:
        return found
    key = Key(given, "given")
    if found is not None and found.text != key.text:
        report.error("the key in the store is not the given one", file="node.json")
    return key


def sort_paths(listing, report):
    """Takes the paths that belong to the format; reports the others."""
    good = []
    for path, kind in listing:
        if path.endswith(".tmp"):
            continue
        if kind != "file":
            report.error("is not a plain file", file=path)
        elif path in ("node.json", "log/checkpoint") or SEGMENT_PATH.match(path) \
                or PART_PATH.match(path) or tile_place(path):
            good.append(path)
        else:
            report.add("warn", "does not belong to the record", file=path)
    return good


def session_parts(paths, report):
    """{sid: {part: path}}"""
    out = {}
    for path in paths:
        m = PART_PATH.match(path)
        if m is None:
            continue
        sid, part = m.group(4), int(m.group(5))
        if "/".join(m.group(1, 2, 3)) != sid_date(sid):
            report.error("is not in the directory of its day (%s)" % sid_date(sid), file=path,
                         session=sid)
        if part in out.setdefault(sid, {}):
            report.error("the part is here twice (also %s)" % out[sid][part], file=path, session=sid)
        out[sid][part] = path
    return out


def check_store(store, vkey=None, **options):
    """Everything. A gateway that writes meanwhile may make a sound store look wrong (a segment used
    again between two reads), so what looks wrong while the files change is looked at again."""
    for attempt in range(4):
        before = store.stamp()
        try:
            report = check_once(store, vkey, **options)
        except Cannot:
            if attempt == 3 or before == store.stamp():
                raise
            continue
        if not report.has("error") or before == store.stamp():
            break
        time.sleep(0.1 * attempt)
    return report


def check_once(store, vkey, only=None, contents=False, now=None, alone=(), keep=None):
    """only: a test on sids. alone: sids for which the journal's frames do not count. keep: filled
    with what a proof is made from."""
    report = Report()
    report.store = store
    now = time.time_ns() if now is None else now
    listing = sort_paths(store.paths(), report)
    node = read_node(store, report)
    report.key = choose_key(vkey, node, report)
    note = read_checkpoint(store, report)
    journal = read_journal(store, listing, report)
    paths = sorted(set(listing) | {p for p, k in store.paths() if k == "file" and tile_place(p)})
    log = read_log(store, paths, journal, note, node, report)
    check_journal(journal, log, report)
    ctx = Context(report, log, journal, now)
    check_sessions(store, session_parts(listing, report), only, contents, ctx, alone, keep)
    return report


def read_checkpoint(store, report):
    data = store.read("log/checkpoint")
    if data is None:
        report.add("unverifiable", "there is no checkpoint: nothing in this store is signed",
                   file="log/checkpoint")
        return None
    if report.key is None:
        report.add("unverifiable", "there is no key: give one with --vkey", file="node.json")
    note, why = parse_checkpoint(data, report.key)
    if note is None:
        report.error(why[0], file="log/checkpoint", offset=why[1])
        return None
    report.checkpoint = note
    return note


def read_log(store, paths, journal, note, node, report):
    tiles = read_tiles(store, paths, report)
    leaves, bundled = gather_leaves(tiles, journal, report)
    log = build_log(leaves, report)
    if note is not None:
        check_checkpoint(log, note, report)
    check_tiles(tiles, log, bundled, journal, report)
    if note is not None:
        if node and note.origin != node["origin"]:
            report.error("origin is not that of the checkpoint", file="node.json")
    read_leaves(log, report)
    if node and log.node is not None and node["node"] != log.node:
        report.error("node is not that of the log's boot leaf", file="node.json")
    if log.node is not None and journal.node is not None and journal.node.hex() != log.node:
        report.error("the journal is of another node than the log", file="journal")
    report.log = {"leaves": len(log.raw), "signed": log.signed}
    return log


def check_journal(journal, log, report):
    """A signed head names a batch that was durable: the journal must reach at least to it."""
    report.journal = {"segments": journal.segments, "batches": journal.batches,
                      "next_batch": journal.next_batch, "torn": journal.torn}
    file, offset = journal.tail or ("journal", None)
    if log.signed_batch is not None and journal.next_batch <= log.signed_batch:
        report.error("the journal ends before batch %d, but a signed leaf says that batch %d was "
                     "durable" % (journal.next_batch, log.signed_batch), file=file, offset=offset)
    elif journal.next_leaf < log.signed:
        report.error("the journal ends with log leaf %d, but %d leaves are signed"
                     % (journal.next_leaf, log.signed), file=file, offset=offset)
    elif journal.torn:
        report.add("warn", "torn tail: batch %d is not whole; nothing signed depends on it"
                   % journal.next_batch, file=file, offset=offset)


def check_sessions(store, parts, only, contents, ctx, alone, keep):
    frames = {}
    for (raw, no), f in ctx.journal.frames.items():
        frames.setdefault(sid_text(raw), {})[no] = f
    sids = set(parts) | set(frames) | set(ctx.log.sessions)
    for sid in sorted(sids):
        if only is not None and not only(sid):
            continue
        scans = {}
        for part, path in parts.get(sid, {}).items():
            data = store.read(path)
            if data is None:
                raise Cannot("%s went away while it was being read" % path)
            scans[part] = scan_part(path, data, sid, part)
        journal = {} if sid in alone else frames.get(sid, {})
        ctx.report.sessions[sid] = check_session(sid, ctx.log.sessions.get(sid), scans, journal, ctx)
        if contents or keep is not None:
            union = {f.no: f for f in journal.values()}
            union.update((f.no, f) for scan in scans.values() for f in scan.frames)
            if contents:
                check_contents(sid, [union[n] for n in sorted(union)], store, ctx.report)
            if keep is not None:
                keep["frames"], keep["log"] = [union[n] for n in sorted(union)], ctx.log


def check_file(path):
    """One session file alone: that it fits itself. Who made it, nobody can say from that."""
    report = Report()
    m = re.match(r"(%s)\.(\d{4})\.rec\Z" % UUID7, os.path.basename(path))
    if m is None:
        raise Usage("%s: a session file is named <sid>.<part>.rec" % path)
    with open(path, "rb") as f:
        data = f.read()
    sid, part = m.group(1), int(m.group(2))
    scan = scan_part(path, data, sid, part)
    for text, offset, frame in scan.problems:
        report.error(text, session=sid, frame=frame, file=path, offset=offset)
    if scan.broken is not None:
        report.error(scan.broken[1].text, session=sid, file=path, offset=scan.broken[1].offset,
                     frame=scan.frames[-1].no + 1 if scan.frames else 0)
    whole = scan.frames and scan.frames[0].no == 0
    for text, offset in check_part_end(scan, tree_root([f.leaf() for f in scan.frames]) if whole else None):
        report.error(text, session=sid, file=path, offset=offset)
    if scan.trailer is None:
        report.add("unverifiable", "the part has no trailer: not sealed, or truncated", session=sid,
                   file=path, offset=scan.size)
    report.add("unverifiable", "a session file alone proves nothing: check it with its store",
               session=sid)
    report.sessions[sid] = {
        "sid": sid, "frames": len(scan.frames), "signed_frames": 0, "parts": 1, "signed": False,
        "closed": bool(scan.frames) and scan.frames[-1].kind == K_CLOSE,
        "state": ALTERED if report.has("error") else OPEN}
    return report


# ---------------------------------------------------------------------------------------------
# One command shown and proven, everything else sealed (record-format §5)


def prove_command(store, vkey, sid, seq):
    """The proof as a dict: command -> frame -> session root in a log leaf -> checkpoint."""
    keep = {}
    report = check_store(store, vkey, only=lambda s: s == sid, keep=keep)
    if report.exit_status() != EXIT_OK or "frames" not in keep:
        return report, None
    frames, log = keep["frames"], keep["log"]
    f = next((f for f in frames if f.kind == K_DATA
              and f.first_seq <= seq < f.first_seq + f.n_events), None)
    if f is None or f.flags & F_ENCRYPTED:
        raise Usage("session %s has no event %d that can be read" % (sid, seq))
    raw = next(r for _, r in raw_bodies([f], store))
    leaves = command_leaves(raw, walk_events(raw))
    i = next((i for i, x in enumerate(leaves) if x[3] == seq - f.first_seq), None)
    if i is None:
        raise Usage("event %d is not a command" % seq)
    claim = next((c for c in sorted(log.sessions[sid].claims)
                  if c[0] > f.no and c[2] < log.signed), None)
    if claim is None:
        raise Cannot("frame %d is not under a signed head yet" % f.no)
    hashes = [x.leaf() for x in frames[:claim[0]]]
    log_hashes = [leaf_hash(x) for x in log.raw[:log.signed]]
    return report, {
        "hansard_proof": 1, "sid": sid, "seq": seq,
        "command": {"event": leaves[i][2].hex(), "salt": leaves[i][1].hex(), "index": i,
                    "count": len(leaves),
                    "path": [h.hex() for h in audit_path([x[0] for x in leaves], i)]},
        "frame": {"header": f.head[:160].hex(), "index": f.no, "count": claim[0],
                  "path": [h.hex() for h in audit_path(hashes, f.no)]},
        "log": {"leaf": log.raw[claim[2]].decode("utf-8"), "index": claim[2], "count": log.signed,
                "path": [h.hex() for h in audit_path(log_hashes, claim[2])]},
        "checkpoint": store.read("log/checkpoint").decode("utf-8"),
    }


def check_proof(proof, key):
    """None, or why the proof does not hold. Needs no store: only the proof and the key."""
    try:
        return judge_proof(proof, key)
    except (KeyError, TypeError, ValueError, AttributeError, struct.error):
        return "the proof is not in the right form"


def judge_proof(proof, key):
    def climb(step, leaf):
        return root_from_path(leaf, step["index"], step["count"],
                              [bytes.fromhex(h) for h in step["path"]])

    command, frame, entry = proof["command"], proof["frame"], proof["log"]
    event = bytes.fromhex(command["event"])
    head = bytes.fromhex(frame["header"])
    if len(head) != 160 or parse_event(event)["type"] != E_COMMAND:
        return "the proof does not show a command and a frame header"
    (_, _, _, kind, _, _, _, n_events, sid, no, first_seq) = FRAME.unpack(head + bytes(4))[:11]
    if kind != K_DATA or sid_text(sid) != proof["sid"] or no != frame["index"] \
            or not first_seq <= proof["seq"] < first_seq + n_events:
        return "the frame header is not that of the session, or not the event's"
    if climb(command, leaf_hash(bytes.fromhex(command["salt"]) + event)) != head[96:128]:
        return "the command is not in the frame's command_root"
    leaf = parse_leaf(entry["leaf"].encode("utf-8"))
    roots = [(g[0], g[1], g[2]) for g in leaf["grew"]] if leaf["t"] == "head" else [
        (leaf["sid"], leaf["frames"] + (leaf["first"] if leaf["t"] == "seal" else 0), leaf["root"])]
    root = climb(frame, leaf_hash(head))
    if root is None or (proof["sid"], frame["count"], root.hex()) not in roots:
        return "the frame is not under the session root in the log leaf"
    note, why = parse_checkpoint(proof["checkpoint"].encode("utf-8"), key)
    if note is None:
        return why[0]
    if entry["count"] != note.size or climb(entry, leaf_hash(entry["leaf"].encode())) != note.root:
        return "the log leaf is not under the checkpoint"
    return None


# ---------------------------------------------------------------------------------------------
# Command line


def open_store(path):
    for root in (os.path.join(path, "record"), path):
        if os.path.isdir(root) and any(
                os.path.exists(os.path.join(root, n)) for n in ("node.json", "log", "sessions",
                                                                 "journal")):
            return Disk(root)
    raise Cannot("%s is not a Hansard store" % path)


def targets(store, wanted):
    """What was named on the command line: sids, prefixes of them, files. (store, only, alone)"""
    if not wanted:
        return store, None, ()
    prefixes, files, alone = [], {}, set()
    for w in wanted:
        m = re.match(r"(?:.*/)?(%s)\.(\d{4})\.rec\Z" % UUID7, w, re.S)
        if m is not None:
            with open(w, "rb") as f:
                files[part_path(m.group(1), int(m.group(2)))] = f.read()
            prefixes.append(m.group(1))
            alone.add(m.group(1))
        elif re.match(r"[0-9a-f-]{4,36}\Z", w.lower()):
            prefixes.append(w.lower())
        else:
            raise Usage("%s is neither a session id nor a session file" % w)
    return Overlay(store, files), lambda sid: any(sid.startswith(p) for p in prefixes), alone


def judge_named(report, wanted):
    """A session that was asked for by name must be there, and something of it must be signed."""
    for w in wanted:
        sid = re.sub(r"\.\d{4}\.rec\Z", "", os.path.basename(w)).lower()
        found = [s for s in report.sessions.values() if s["sid"].startswith(sid)]
        if not found:
            raise Cannot("there is no session %s" % w)
        for s in found:
            if s["signed_frames"] == 0 and s["state"] in (COMPLETE, OPEN, GAP):
                report.add("unverifiable", "no frame of it is under a signed head yet",
                           session=s["sid"])


RECEIPT = re.compile(r"hsr1:(%s):(0|[1-9][0-9]{0,19}):([0-9a-f]{64}):(0|[1-9][0-9]{0,19})\Z" % UUID7)


def check_receipt(store, vkey, text, contents=False):
    """Is the frame that a client's receipt names in this record, and under a signed leaf?"""
    m = RECEIPT.match(text)
    if m is None or int(m.group(2)) >> 64 or int(m.group(4)) >> 64:
        raise Usage("--receipt: hsr1:<session id>:<frame>:<hash>:<log size>")
    sid, no, leaf, size = m.group(1), int(m.group(2)), m.group(3), int(m.group(4))
    keep = {}
    report = check_store(store, vkey, only=lambda s: s == sid, contents=contents, keep=keep)
    frame = {f.no: f for f in keep.get("frames", ())}.get(no)
    if frame is None:
        report.error("receipt: this frame is not in the record", session=sid, frame=no)
        return report
    if frame.leaf().hex() != leaf:
        report.error("receipt: this frame is not the one that the receipt names", session=sid, frame=no)
        return report
    log = keep["log"]
    entry = log.sessions.get(sid)
    covers = [c[2] for c in entry.claims if c[0] > no] if entry is not None else []
    if len(log.raw) < size or (covers and min(covers) < size):
        report.error("receipt: the log had %d leaves by then, and the frame was not under one of them"
                     % size, session=sid, frame=no)
    elif not covers or min(covers) >= log.signed:
        report.add("unverifiable", "receipt: the frame is in the record, not under a signed leaf yet",
                   session=sid, frame=no)
    else:
        report.add("warn", "receipt: proven by log leaf %d" % min(covers), session=sid, frame=no)
    return report


def describe(s):
    text = WORDS[s["state"]]
    if s["state"] in (ALTERED, TRUNCATED) and s.get("at_frame") is not None:
        text += " at frame %d" % s["at_frame"]
    if s["state"] in (COMPLETE, GAP) and s["closed"]:
        return "%s; %d frames%s" % (text, s["frames"], "" if s["signed"] else ", end not signed yet")
    return "%s; %d frames, %d of them under a signed head" % (text, s["frames"], s["signed_frames"])


def what_proves_it(report):
    if report.key is None:
        return "no key: nothing is proven"
    if report.key.source == "given":
        return ("the given key %s+%s: the record is what the holder of this key signed; without a "
                "witness, a whole older state put back cannot be seen"
                % (report.key.name, report.key.id.hex()))
    return ("a key found in the store itself (%s+%s): that excludes accidents and nothing more; "
            "give the gateway's key with --vkey" % (report.key.name, report.key.id.hex()))


VERDICTS = {
    EXIT_OK: "OK: nothing wrong was found",
    EXIT_UNVERIFIABLE: "UNVERIFIABLE: nothing wrong was found, but it cannot be proven",
    EXIT_TAMPERED: "TAMPERED: the record is not what was signed",
}


def print_text(report, quiet):
    if not quiet:
        note = report.checkpoint
        print("checkpoint: " + (clean("%s, %d leaves" % (note.origin, note.size)) if note else "none"))
        if report.log:
            print("log: %(leaves)d leaves, %(signed)d of them signed" % report.log)
        if report.journal:
            print("journal: %(segments)d segments in use, %(batches)d batches" % report.journal
                  + (", torn tail" if report.journal["torn"] else ""))
        for sid, s in report.sessions.items():
            print("session %s: %s" % (sid, describe(s)))
    for f in report.findings:
        if not quiet or f.level in ("error", "unverifiable"):
            print(str(f))
    print("proof: " + clean(what_proves_it(report)))
    print("verdict: " + VERDICTS[report.exit_status()])


def print_json(report):
    status = report.exit_status()
    note, key = report.checkpoint, report.key
    print(json.dumps({
        "exit": status,
        "verdict": {0: "ok", 3: "unverifiable", 4: "tampered"}[status],
        "key": None if key is None else {"source": key.source, "name": key.name, "id": key.id.hex()},
        "proof": what_proves_it(report),
        "checkpoint": None if note is None else {
            "origin": note.origin, "size": note.size, "root": note.root.hex()},
        "log": report.log, "journal": report.journal,
        "sessions": list(report.sessions.values()),
        "findings": [f.as_dict() for f in report.findings],
    }, indent=2))


def parse_args(argv):
    p = argparse.ArgumentParser(
        prog="hansard_verify.py", description="Verify a Hansard record, independently.",
        epilog="Exit status: 0 nothing wrong, 1 cannot do, 2 usage, 3 unverifiable, 4 tampered.")
    p.add_argument("store", metavar="STORE", help="a store, or one FILE.rec alone")
    p.add_argument("what", metavar="SID|FILE.rec", nargs="*", help="only these sessions")
    p.add_argument("--vkey", metavar="KEY", help="the gateway's verifier key, or a file with it")
    p.add_argument("--receipt", metavar="TEXT",
                   help="is what a client's receipt names in this record?")
    p.add_argument("--contents", action="store_true", help="also decode events (may need zstd)")
    p.add_argument("--json", action="store_true", help="the report as JSON")
    p.add_argument("-q", "--quiet", action="store_true", help="only what is wrong, and the verdict")
    p.add_argument("--prove-command", nargs=2, metavar=("SID", "SEQ"),
                   help="print a proof of one command that shows nothing else")
    p.add_argument("--check-proof", metavar="FILE",
                   help="check such a proof with --vkey; STORE is '-' then")
    return p.parse_intermixed_args(argv)


def read_key(text):
    if text is not None and os.path.isfile(text):
        with open(text, encoding="utf-8") as f:
            text = f.read().strip()
    if text is not None:
        try:
            Key(text, "given")
        except ValueError as bad:
            raise Usage("--vkey: %s" % bad) from None
    return text


def run(args):
    vkey = read_key(args.vkey)
    if args.check_proof is not None:
        return run_check_proof(args.check_proof, vkey)
    if os.path.isfile(args.store):
        if args.what or vkey is not None:
            raise Usage("a session file comes after its STORE")
        report = check_file(args.store)
    else:
        store, only, alone = targets(open_store(args.store), args.what)
        if args.prove_command is not None:
            return run_prove(store, vkey, args.prove_command)
        if args.receipt is not None:
            if args.what:
                raise Usage("a receipt names its session itself")
            report = check_receipt(store, vkey, args.receipt.strip(), args.contents)
        else:
            report = check_store(store, vkey, only=only, contents=args.contents, alone=alone)
            judge_named(report, args.what)
    if args.json:
        print_json(report)
    else:
        print_text(report, args.quiet)
    return report.exit_status()


def run_prove(store, vkey, what):
    sid, seq = what
    if SID_TEXT.match(sid) is None or not seq.isdigit():
        raise Usage("--prove-command wants a whole session id and an event number")
    report, proof = prove_command(store, vkey, sid, int(seq))
    if proof is None:
        print_text(report, True)
        return report.exit_status() or EXIT_CANNOT
    print(json.dumps(proof, indent=1))
    return EXIT_OK


def run_check_proof(path, vkey):
    if vkey is None:
        raise Usage("--check-proof needs --vkey")
    with open(path, encoding="utf-8") as f:
        try:
            proof = json.load(f)
        except (ValueError, RecursionError):
            raise Cannot("%s is not JSON" % path) from None
    why = check_proof(proof, Key(vkey, "given"))
    if why is not None:
        print("verdict: TAMPERED: " + clean(why))
        return EXIT_TAMPERED
    command = parse_event(bytes.fromhex(proof["command"]["event"]))
    print("session %s, event %d: %s" % (clean(proof["sid"]), proof["seq"],
                                        clean(command["verb"].decode("utf-8", "replace"))))
    print("text hash: " + command["text_hash"].hex())
    print("verdict: OK: the command is in the signed record")
    return EXIT_OK


def main(argv=None):
    try:
        return run(parse_args(argv))
    except SystemExit as e:
        return e.code
    except Usage as bad:
        print("hansard_verify.py: " + clean(bad), file=sys.stderr)
        return EXIT_USAGE
    except (Cannot, OSError) as bad:
        print("hansard_verify.py: " + clean(bad), file=sys.stderr)
        return EXIT_CANNOT


if __name__ == "__main__":
    sys.exit(main())
