"""Tests of the independent verifier: the tamper matrix over a small store, in-process.

The store comes from make_store.py, which shares no code with the verifier; when the build has
hansard-teststore, the same matrix runs over a store that the C code made. Every byte of session
files, tiles and checkpoint and every written byte of the journal is changed once (zero padding is
sampled). What was seen of an unchanged file is remembered by its content, so that this takes
seconds; the whole judgement is made anew each time.
"""

import base64
import functools
import json
import os
import re
import shutil
import struct
import subprocess
import time

import pytest

import hansard_verify as hv
import make_store as ms

NOW = ms.WALL + 10**9
LATER = ms.WALL + 3600 * 10**9
needs_zstd = pytest.mark.skipif(shutil.which("zstd") is None, reason="no zstd")


def setup_module():
    for name in ("crc32c", "scan_part", "scan_segment", "ed25519_verify"):
        setattr(hv, name, functools.lru_cache(maxsize=4096)(getattr(hv, name)))


def teardown_module():
    for name in ("crc32c", "scan_part", "scan_segment", "ed25519_verify"):
        setattr(hv, name, getattr(hv, name).__wrapped__)


class Memory:
    """A store that is a dict."""

    def __init__(self, files):
        self.files = files

    def paths(self):
        return sorted((p, "file") for p in self.files)

    def read(self, path):
        return self.files.get(path)

    def read_range(self, path, offset, size):
        return self.files.get(path, b"")[offset:offset + size]

    def stamp(self):
        return 0


VKEY = ms.vkey()


def check(files, vkey=VKEY, now=NOW, **options):
    return hv.check_store(Memory(files), vkey, now=now, **options)


@functools.lru_cache(maxsize=None)
def store(**options):
    return ms.build(**options)


def files(**options):
    return dict(store(**options).files)


def named(report, path, levels=("error", "warn", "unverifiable")):
    return [f for f in report.findings if f.level in levels and f.file == path]


def texts(report):
    return "\n".join(str(f) for f in report.findings)


def rec(report, s):
    return report.sessions[s.text]


# -- what is right is called right ---------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"unsigned": True}, {"stop": True}, {"encrypted": True}])
def test_sound_store(options):
    report = check(files(**options), contents=not options.get("encrypted"))
    assert report.exit_status() == 0 and not report.has("warn"), texts(report)
    acts, two, hole, live = (rec(report, s) for s in store(**options).sessions)
    assert [acts["state"], two["state"], hole["state"]] == ["complete", "complete", "gap"]
    assert live["state"] == ("complete" if "stop" in options else "open")
    assert two["frames"] == 6 and two["signed_frames"] == 6 and two["parts"] == 2
    if "unsigned" in options:
        assert (live["frames"], live["signed_frames"]) == (4, 3)


def test_encrypted_frames_verify_without_a_key_to_them():
    report = check(files(encrypted=True), contents=True)
    assert report.exit_status() == 0, texts(report)


@needs_zstd
def test_compressed():
    def pack(data):
        return subprocess.run(["zstd", "-qc"], input=data, stdout=subprocess.PIPE, check=True).stdout
    s = ms.Store(segment_size=65536, pack=pack)
    s.node()
    one = s.session(2)
    ms.talk(one, 5, 3, wide=3000)
    one.close()
    s.flush()
    s.sign()
    assert check(s.files, contents=True).exit_status() == 0
    out = subprocess.run(["zstd", "-dc"], input=s.files[one.path()], stdout=subprocess.PIPE, check=True)
    assert out.stdout.count(b"select") == 3


@needs_zstd
def test_compressed_body_that_is_none():
    s = ms.Store(segment_size=65536, pack=lambda data: b"not what zstd makes" + data[:9])
    s.node()
    one = s.session(2)
    ms.talk(one, 5, 2, wide=3000)
    one.close()
    s.flush()
    s.sign()
    report = check(s.files, contents=True)
    assert [x.frame for x in report.findings if "decompressed" in x.text] == [1, 2], texts(report)


def test_key_found_in_the_store_is_named_as_such():
    report = check(files(), vkey=None)
    assert report.exit_status() == 0
    assert "excludes accidents and nothing more" in hv.what_proves_it(report)
    assert "without a witness" in hv.what_proves_it(check(files()))


# -- every byte ------------------------------------------------------------------------------------


def flips(f, path, offsets, vkey=VKEY):
    """The store with each of the bytes changed, one after the other: (offset, report)."""
    data = f[path]
    for offset in offsets:
        changed = bytearray(data)
        changed[offset] ^= 1 << offset % 8
        f[path] = bytes(changed)
        yield offset, check(f, vkey)
    f[path] = data


def frames_of(data):
    """[(offset, end, frame_no)]"""
    out, at = [], 0
    while at + 164 <= len(data):
        size = 164 + struct.unpack_from("<I", data, at + 12)[0]
        out.append((at, at + size, struct.unpack_from("<Q", data, at + 40)[0]))
        at += size
    return out


def sessions_flipped(f, step=1, vkey=VKEY):
    for path in [p for p in f if p.endswith(".rec")]:
        places = frames_of(f[path])
        for offset, report in flips(f, path, range(0, len(f[path]), step), vkey):
            start, end, no = next(p for p in places if p[0] <= offset < p[1])
            found = [x for x in named(report, path, ("error",)) if start <= x.offset < end]
            assert found and report.exit_status() == 4, (path, offset, texts(report))
            assert any(x.frame in (no, None) for x in found), (path, offset, no, texts(report))
            sid = path.split("/")[-1][:36]
            said = report.sessions[sid]
            assert (said["state"], said["at_frame"]) == ("altered", no), (path, offset, texts(report))


def log_flipped(f, step=1, vkey=VKEY):
    for path in [p for p in f if p.startswith("log/")]:
        size = 32 if "/tile/" in path and "/entries/" not in path else len(f[path])
        for offset, report in flips(f, path, range(0, len(f[path]), step), vkey):
            found = named(report, path, ("error",))
            assert found and report.exit_status() == 4, (path, offset, texts(report))
            if size == 32:
                assert any(x.offset == offset // 32 * 32 for x in found), texts(report)


def written(data):
    """Offsets of a segment's bytes that were written, padding sampled."""
    out = list(range(0, 100)) + list(range(100, 4096, 97))
    at = 4096
    while data[at:at + 4] == b"HSB1" and data[at + 32:at + 48] == data[48:64]:
        end = at + 64 + struct.unpack_from("<I", data, at + 4)[0]
        padded = -(-end // 4096) * 4096
        out += list(range(at, end)) + list(range(end, padded, 97))
        at = padded
    return out


def journal_flipped(f, step=1, torn_is_fine=False, vkey=VKEY):
    torn = 0
    for path in [p for p in f if p.startswith("journal/")]:
        for offset, report in flips(f, path, written(f[path])[::step], vkey):
            if torn_is_fine and report.exit_status() != 4:
                assert "torn" in texts(report) and named(report, path), (path, offset)
                torn += 1
                continue
            assert report.exit_status() == 4, (path, offset, texts(report))
            assert named(report, path, ("error",)) or "journal ends" in texts(report), \
                (path, offset, texts(report))
    return torn


def test_every_byte_of_session_files():
    sessions_flipped(files())


def test_every_byte_of_the_log():
    log_flipped(files())


def test_every_byte_of_the_journal():
    assert journal_flipped(files()) == 0


def test_every_byte_of_an_unsigned_tail_is_torn_or_altered():
    f = files(unsigned=True)
    data = f["journal/00000001.seg"]
    last = data.rindex(b"HSB1")
    assert journal_flipped(f, step=3, torn_is_fine=True) > (len(data[last:].rstrip(b"\0"))) // 4


def test_every_byte_of_node_json_contradicts_or_is_plain_text():
    f = files()
    for offset, report in flips(f, "node.json", range(len(f["node.json"]))):
        assert named(report, "node.json"), (offset, texts(report))


# -- frames ------------------------------------------------------------------------------------------


def part_paths(f):
    return [p for p in f if p.endswith(".rec")]


def test_frames_removed():
    f = files()
    for path in part_paths(f):
        data = f[path]
        for start, end, no in frames_of(data)[:-1]:
            f[path] = data[:start] + data[end:]
            report = check(f)
            assert named(report, path), (path, no, texts(report))
            f[path] = data
    assert check(f).exit_status() == 0


def test_frames_swapped_and_doubled():
    f = files()
    for path in part_paths(f):
        data = f[path]
        places = frames_of(data)
        for (a, b, no), (_, c, _) in zip(places, places[1:]):
            for forged in (data[:a] + data[b:c] + data[a:b] + data[c:], data[:c] + data[a:b] + data[c:]):
                f[path] = forged
                report = check(f)
                assert named(report, path, ("error",)), (path, no, texts(report))
        f[path] = data


def test_parts_truncated_at_every_byte():
    """Of a sealed part every cut is found; where the journal still has the frames (the session that
    closed just now) it is a torn file and named. Of the open part the journal has all."""
    f = files()
    _, two, hole, live = store().sessions
    for path in part_paths(f):
        data = f[path]
        cuts = range(len(data)) if hole.text in path or live.text in path else range(0, len(data), 5)
        ends = {x for p in frames_of(data) for x in p[:2]}
        for cut in cuts:
            f[path] = data[:cut]
            report = check(f)
            if live.text in path and cut in ends:
                assert report.exit_status() == 0 and rec(report, live)["frames"] == 3
                continue
            assert named(report, path), (path, cut, texts(report))
            if live.text not in path and hole.text not in path:
                assert report.exit_status() == 4
        f[path] = data
    assert two is not None


def test_torn_sectors_are_right_and_then_zeros():
    f = files()
    live = store().sessions[3]
    path = live.path()
    sound = f[path]
    f[path] = sound[:-20] + bytes(20)
    assert check(f).exit_status() == 0 and "ends torn" in texts(check(f))
    first = len(live.frames[0])
    assert first < 300
    f[path] = sound[:300] + bytes(len(sound) - 300)
    assert check(f).exit_status() == 0
    f[path] = sound[:300] + bytes(512 - 300) + sound[512:]
    assert check(f).exit_status() == 0 and rec(check(f), live)["frames"] == 3
    for a, b in ((300, 310), (300, 513), (500, 520)):
        f[path] = sound[:a] + bytes(b - a) + sound[b:]
        assert check(f).exit_status() == 4, "zeros inside a sector, right bytes behind them"
    whole = b"".join(live.frames)
    for cut in range(len(whole)):
        f[path] = whole[:cut]
        report = check(f)
        assert report.exit_status() == 0 and rec(report, live)["state"] == "open", texts(report)
    first = len(live.frames[0])
    f[path] = live.frames[0] + whole[first:first + 50] + b"\x01"
    assert check(f).exit_status() == 4


def test_the_sealing_of_a_part_may_be_torn_while_its_leaf_is_in_the_journal():
    """The session that closed just now: its file may have lost any of its end, and only that."""
    f = files()
    hole = store().sessions[2]
    path = hole.path()
    sound = f[path]
    for cut in range(0, len(sound), 3):
        for rest in (b"", bytes(len(sound) - cut)):
            f[path] = sound[:cut] + rest
            assert rec(check(f), hole)["state"] == "gap", (cut, len(rest), texts(check(f)))
    trailer = len(sound) - 236
    for at in (trailer + 60, trailer + 161, trailer + 3, len(sound) - 1):
        f[path] = sound[:at] + bytes([sound[at] ^ 1]) + sound[at + 1:]
        assert check(f).exit_status() == 4, at
    f[path] = sound + b"\0"
    assert check(f).exit_status() == 4
    two = store().sessions[1].path(1)
    f = files()
    f[two] = f[two][:-1]
    assert check(f).exit_status() == 4, "its seal leaf left the journal: a sync came between"


def test_bytes_after_a_trailer():
    f = files()
    path = store().sessions[1].path(1)
    f[path] += b"\0"
    assert named(check(f), path, ("error",))
    f[path] = f[path][:-1] + store().sessions[1].frames[-1]
    assert named(check(f), path, ("error",))


# -- forged by someone who knows the format, but has no key --------------------------------------------


def forge(s, no, **changed):
    """Session s with frame `no` written anew, every CRC and hash in the files right again."""
    old = s.frames[no]
    values = dict(part=struct.unpack_from("<I", old, 84)[0], flags=old[11],
                  n_events=struct.unpack_from("<I", old, 20)[0], command_root=old[96:128])
    body = changed.pop("body", old[164:])
    values.update(changed)
    new = ms.frame(old[10], s.sid, no, struct.unpack_from("<Q", old, 48)[0], body, **values)
    frames = s.frames[:no] + [new] + s.frames[no + 1:]
    out, first = {}, 0
    for part, had in enumerate(s.parts[:-1]):
        mine = frames[first:first + len(had)]
        first += len(had)
        out[s.path(part)] = s.sealed(part, mine, ms.root([ms.leaf_of(x) for x in frames[:first]]))
    return out


def test_forged_session_is_located():
    _, two = store().sessions[:2]
    for no in range(len(two.frames)):
        f = files()
        body = bytearray(two.frames[no][164:])
        body[20] ^= 1
        f.update(forge(two, no, body=bytes(body)))
        report = check(f)
        s = rec(report, two)
        assert s["state"] == "altered" and report.exit_status() == 4, texts(report)
        # Heads stand after frames 3 and 6, seals after 3 and 6: located to that span at least.
        assert s["at_frame"] in (no // 3 * 3, no), (no, texts(report))
        assert s["file"] == two.path(no // 3)


def test_forged_session_and_log_without_the_key():
    """Everything is rewritten consistently, only the signature cannot be."""
    s = ms.build(stop=True)
    f = dict(s.files)
    f["log/checkpoint"] = files()["log/checkpoint"]
    report = check(f, now=LATER)
    assert report.exit_status() != 0


# -- sessions, parts ---------------------------------------------------------------------------------


def test_part_removed():
    f = files()
    for path in part_paths(f):
        data = f.pop(path)
        report = check(f)
        if store().sessions[3].text in path:  # open, all in the journal: nothing is lost
            assert report.exit_status() == 0
        else:
            assert named(report, path) or "nothing of it is here" in texts(report), texts(report)
        f[path] = data
    two = store().sessions[1]
    del f[two.path(1)]
    report = check(f)
    assert rec(report, two)["at_frame"] == 3 and rec(report, two)["state"] != "complete"


def test_session_removed():
    f = files()
    two = store().sessions[1]
    del f[two.path(0)], f[two.path(1)]
    report = check(f)
    assert rec(report, two)["state"] == "missing" and report.exit_status() == 4


def test_session_planted():
    s = ms.Store()
    planted = s.session(9)
    ms.talk(planted, 1)
    planted.close()
    f = files()
    f[planted.path()] = s.files[planted.path()]
    report = check(f)
    assert named(report, planted.path(), ("error",)) and "does not know" in texts(report)


def test_part_renamed():
    two, hole = store().sessions[1:3]
    for src, dst in ((two.path(1), two.path(2)), (two.path(0), two.path(1)),
                     (hole.path(), store().sessions[0].path(1)),
                     (two.path(0), two.path(0).replace("/21/", "/22/"))):
        f = files()
        f[dst] = f.pop(src)
        report = check(f)
        assert report.exit_status() == 4 and named(report, dst, ("error",)), texts(report)


def test_parts_swapped():
    f = files()
    two = store().sessions[1]
    f[two.path(0)], f[two.path(1)] = f[two.path(1)], f[two.path(0)]
    report = check(f)
    assert named(report, two.path(0), ("error",)) and named(report, two.path(1), ("error",))


def test_foreign_names():
    f = files()
    f["sessions/x.rec"] = f["log/tile/0/000.p/0"] = b"x"
    f["journal/1.seg.tmp"] = b"x"
    report = check(f)
    assert report.exit_status() == 0
    assert [x.file for x in report.findings] == ["log/tile/0/000.p/0", "sessions/x.rec"]


# -- the log -----------------------------------------------------------------------------------------


def test_log_rolled_back():
    """Checkpoint and tiles of an earlier moment under newer sessions and journal."""
    old = ms.build()
    old.tiles(old.gone_leaves + 1)
    old.sign(old.gone_leaves + 1)
    f = files()
    for path in [p for p in f if p.startswith("log/")]:
        del f[path]
    f.update((p, d) for p, d in old.files.items() if p.startswith("log/"))
    report = check(f, now=LATER)
    assert report.exit_status() == 3 and "not under the checkpoint" in texts(report)
    for path in [p for p in f if p.startswith("journal/")]:
        del f[path]
    report = check(f, now=LATER)
    assert report.exit_status() == 4 and "does not know" in texts(report)


def test_whole_store_rolled_back_is_what_only_a_witness_finds():
    report = check(files(), now=LATER)
    assert report.exit_status() == 0
    assert "a whole older state put back cannot be seen" in hv.what_proves_it(report)


def test_resigned_with_another_key():
    s = ms.build()
    s.sign(seed=b"\2" * 32)
    report = check(s.files)
    assert named(report, "log/checkpoint", ("error",)) and "not signed with the key" in texts(report)
    assert check(s.files, vkey=None).exit_status() == 4  # node.json still has the old key
    s.node(seed=b"\2" * 32)
    assert check(s.files).exit_status() == 4
    report = check(s.files, vkey=None)
    assert report.exit_status() == 0 and "accidents and nothing more" in hv.what_proves_it(report)


def test_same_key_id_other_signature():
    f = files()
    text, sig = f["log/checkpoint"].split(b"\n\n")
    blob = base64.b64decode(sig.split()[2])
    forged = base64.b64encode(blob[:4] + b"\1" * 63 + b"\0")
    f["log/checkpoint"] = text + b"\n\n" + "\u2014 ".encode() + ms.ORIGIN.encode() + b" " + forged + b"\n"
    assert "signature is false" in texts(check(f))


def test_checkpoint_for_a_longer_log():
    s = ms.build(unsigned=True)
    s.tiles()
    s.sign()
    f = files()
    f["log/checkpoint"] = s.files["log/checkpoint"]
    report = check(f)
    assert report.exit_status() == 4 and "truncated at leaf" in texts(report)


def test_checkpoint_forms():
    f = files()
    good = f["log/checkpoint"].decode()
    lines = good.split("\n")
    bad = [good[:-1], good + "\n", good + lines[4], good.replace("\n\n", "\n"), "",
           good.replace(lines[1], "0" + lines[1], 1), good.replace(lines[1], lines[1] + " ", 1),
           good.replace("\n\n", "\nextension\n\n"), good.replace("\u2014", "-"),
           good + lines[4] + "\n", good.replace("\n", "\r\n")]
    # The last character before the padding has spare bits: another one decodes to the same bytes.
    spare = re.sub(r"(.)=\n\Z", lambda m: chr(ord(m.group(1)) + 1) + "=\n", good)
    assert spare != good
    for text in bad + [spare]:
        f["log/checkpoint"] = text.encode()
        assert named(check(f), "log/checkpoint", ("error",)), text
    witness = "\u2014 witness.example/w " + base64.b64encode(b"x" * 76).decode() + "\n"
    f["log/checkpoint"] = (good + witness).encode()
    assert check(f).exit_status() == 0


def test_no_checkpoint_and_no_key():
    f = files()
    del f["log/checkpoint"]
    assert check(f).exit_status() == 3
    f = files()
    del f["node.json"]
    assert named(check(f, vkey=None), "node.json", ("error", "unverifiable"))
    assert named(check(f), "node.json", ("error",))


def big_log():
    s = ms.Store(segment_size=65536)
    s.node()
    one = s.session(2)
    while len(s.leaves) < 520:
        s.leaf(t="gap", sid=one.text, wall=s.tick(), after_seq=len(s.leaves), reason="x")
        if len(s.leaves) % 200 == 0:
            s.flush()
    one.close()
    s.flush()
    s.tiles()
    s.sign()
    return s


def test_tiles_of_two_levels():
    s = big_log()
    f = dict(s.files)
    assert {"log/tile/1/000.p/2", "log/tile/0/001", "log/tile/entries/001"} <= set(f)
    assert check(f).exit_status() == 0, texts(check(f))
    for path in [p for p in f if p.startswith("log/tile")]:
        step = 1 if "/1/" in path else 211
        for offset, report in flips(f, path, range(0, len(f[path]), step)):
            assert named(report, path, ("error",)), (path, offset)
        data = f[path]
        f[path] = data[:-3]
        assert named(check(f), path, ("error",))
        f[path] = data + b"\0" * 32
        assert named(check(f), path, ("error",))
        f[path] = data
    for path in ("log/tile/0/000", "log/tile/entries/001"):
        data = f.pop(path)
        if "entries" not in path:
            assert "is in no tile" in texts(check(f))
        f[path] = data
    tile = "log/tile/0/002.p/%d" % (len(s.leaves) - 512)
    f["log/tile/0/002.p/1"] = f[tile][:32]  # a crash before it was deleted
    assert check(f).exit_status() == 0


def test_settled_leaves_must_be_in_tiles():
    for path in ("log/tile/0/000.p/18", "log/tile/entries/000.p/18"):
        f = files()
        del f[path]
        assert check(f).exit_status() == 4, path


@pytest.mark.parametrize("raw", [
    b'{"t":"stop","wall":1,"boot":"x","batch":1} ', b'{"t":"stop", "wall":1,"boot":"x","batch":1}',
    b'{"t":"stop","boot":"x","wall":1,"batch":1}', b'{"t":"stop","wall":1,"boot":"x","batch":-1}',
    b'{"t":"stop","wall":1,"boot":"x","batch":01}', b'{"t":"stop","wall":1,"boot":"x","batch":1.0}',
    b'{"t":"stop","wall":true,"boot":"x","batch":1}', b'{"t":"stop","wall":1,"boot":"\\u0041","batch":1}',
    b'{"t":"other","wall":1}', b'{"t":"stop","wall":1,"boot":"x","batch":18446744073709551616}',
    b'{"t":"stop","wall":1,"boot":"x","batch":1,"batch":1}', b'[]', b'', b'"t"', b'\xff', b'[' * 9000,
    b'{"t":"head","wall":1,"batch":1,"grew":[]}', b'{"t":"head","wall":1,"batch":1,"grew":[["x",1,"y"]]}',
])
def test_leaf_syntax(raw):
    with pytest.raises(ValueError):
        hv.parse_leaf(raw)


def test_leaf_order():
    for bad in (lambda s, one: s.leaf(t="gap", sid=one.text.replace("7", "8", 1), wall=1, after_seq=1,
                                      reason=""),
                lambda s, one: s.leaf(t="open", sid=one.text, wall=1, leaf="00" * 32),
                lambda s, one: s.leaf(t="boot", wall=1, node="ff" * 16, boot="", version=""),
                lambda s, one: s.leaf(t="head", wall=1, batch=0, grew=[[one.text, 1, "00" * 32]])):
        s = ms.Store(segment_size=65536)
        s.node()
        s.leaf(t="boot", wall=s.tick(), node=ms.NODE.hex(), boot="", version="")
        one = s.session(2)
        ms.talk(one, 1, 2)
        s.head(one)
        s.flush()
        s.tiles()
        s.sign()
        assert check(s.files).exit_status() == 0, texts(check(s.files))
        bad(s, one)
        s.flush()
        s.tiles()
        s.sign()
        assert check(s.files).exit_status() == 4


# -- the journal ---------------------------------------------------------------------------------------


def long_journal():
    """Several segments in use, everything still in the journal."""
    s = ms.Store(segment_size=16384)
    s.node()
    one = s.session(2)
    for i in range(9):
        ms.talk(one, i)
        s.head(one)
    s.flush()
    one.unsealed(4)
    s.tiles()
    s.sign()
    return s


def test_segments_removed_swapped_truncated():
    s = long_journal()
    names = sorted(p for p in s.files if p.startswith("journal/"))
    assert len(names) >= 3 and check(s.files).exit_status() == 0, texts(check(s.files))
    for name in names:
        f = dict(s.files)
        del f[name]
        # Without the oldest it looks as if it was used again; all of it is elsewhere, nothing is lost.
        assert check(f).exit_status() == (0 if name == names[0] else 4), name
        f = dict(s.files)
        for cut in (0, 100, 4096, 9000, 16000):
            f[name] = s.files[name][:cut]
            unused = (name, cut) == (names[0], 0)
            assert check(f).exit_status() == (0 if unused else 4), (name, cut)
        f[name] = bytes(4096) + s.files[name][4096:]
        assert named(check(f), name, ("error",))
    # The file's name is only a place; the number is inside.
    f = dict(s.files)
    f[names[0]], f[names[1]] = f[names[1]], f[names[0]]
    assert check(f).exit_status() == 0


def test_batches_wiped_and_swapped():
    s = long_journal()
    for name in [p for p in s.files if p.startswith("journal/")]:
        data = s.files[name]
        for at in range(4096, len(data), 4096):
            if not data[at:at + 4096].strip(b"\0"):
                continue
            f = dict(s.files)
            f[name] = data[:at] + bytes(4096) + data[at + 4096:]
            report = check(f)
            assert report.exit_status() == 4, (name, at)
            assert any(x.file == name and x.offset == at for x in report.findings) \
                or "journal ends" in texts(report), texts(report)
        f = dict(s.files)
        f[name] = data[:4096] + data[8192:12288] + data[4096:8192] + data[12288:]
        if f[name] != data:
            assert check(f).exit_status() == 4


def test_torn_tail_and_the_boot_after_it():
    s = ms.build(unsigned=True)
    name = s.name()
    at = s.files[name].rindex(b"HSB1")
    f = dict(s.files)
    f[name] = f[name][:at + 100] + bytes(len(f[name]) - at - 100)
    report = check(f)
    assert report.exit_status() == 0 and "torn tail" in texts(report)
    assert named(report, name)[0].offset == at
    s.files = f
    s.leaves.pop()
    s.batch_no, s.logged = s.batch_no - 1, s.logged - 1
    s.next_segment()
    s.leaf(t="boot", wall=s.tick(), node=ms.NODE.hex(), boot="33", version="")
    s.flush()
    report = check(s.files)
    assert "remains of a torn batch" in texts(report)
    assert not [x for x in report.findings if x.level == "error" and "journal/" in (x.file or "")]


def test_batch_whose_write_failed_does_not_count():
    """It may be whole on the disk; the next segment begins with its number again."""
    s = ms.build()
    live = s.sessions[3]
    ms.talk(live, 60)
    s.flush()
    live.frames.pop()
    live.parts[-1].pop()
    live.seq -= 5
    s.batch_no -= 1
    s.next_segment()
    live.put(ms.GAP, {"reason": "write-failed", "after_seq": 0, "lost": None})
    s.head(live)
    s.flush()
    s.tiles()
    s.sign()
    report = check(s.files)
    assert report.exit_status() == 0 and "was written again" in texts(report), texts(report)
    assert rec(report, live)["state"] == "gap"
    assert check(s.files).exit_status() == 0


def test_journal_behind_the_signed_log():
    f = files()
    del f["journal/00000001.seg"]
    report = check(f)
    assert report.exit_status() == 4 and "the journal ends" in texts(report)


def test_recycled_segment_hides_no_old_batches():
    s = ms.build()
    used = s.files[s.name()]
    s.next_segment()
    s.put(4096, used[4096:20480])  # bytes of an earlier use: other salt
    s.leaf(t="gap", sid=s.sessions[3].text, wall=s.tick(), after_seq=1, reason="x")
    s.flush()
    s.tiles()
    s.sign()
    assert check(s.files).exit_status() == 0, texts(check(s.files))


def test_zeros_are_skipped_quickly():
    data = bytearray(64 << 20)
    data[:4096] = files()["journal/00000001.seg"][:4096]
    start = time.time()
    hv.scan_segment("journal/00000000.seg", bytes(64 << 20))
    scan = hv.SegmentScan("x", len(data))
    scan.salt, scan.first_batch = bytes(data[48:64]), 1
    hv.scan_batches(scan, bytes(data))
    assert time.time() - start < 5 and not scan.batches


# -- signed or not --------------------------------------------------------------------------------------


def test_end_that_nobody_signed():
    s = ms.build()
    live = s.sessions[3]
    live.close()
    s.flush()
    fresh, stale = check(s.files, now=s.time), check(s.files, now=LATER)
    assert fresh.exit_status() == 0 and "not under the checkpoint" in texts(fresh)
    assert stale.exit_status() == 3
    s.tiles()
    s.sign()
    assert check(s.files, now=LATER).exit_status() == 0


# -- contents ---------------------------------------------------------------------------------------------


def one_frame_store(events, command_root=None, n_events=None):
    s = ms.Store(segment_size=65536)
    s.node()
    one = s.session(2)
    one.data(*events)
    if command_root is not None or n_events is not None:
        old = one.frames[1]
        new = ms.frame(ms.DATA, one.sid, 1, 1, old[164:], flags=4, n_events=n_events or len(events),
                       command_root=command_root or old[96:128])
        one.frames[1] = one.parts[0][1] = s.pending[1] = new
        one.seq = 1 + (n_events or len(events))
    one.close()
    s.flush()
    s.tiles()
    s.sign()
    return s


def test_contents():
    good, _ = ms.query(1, 0)
    assert check(one_frame_store(good).files, contents=True).exit_status() == 0
    assert check(one_frame_store(good, command_root=b"x" * 32).files).exit_status() == 0
    bad = check(one_frame_store(good, command_root=b"x" * 32).files, contents=True)
    assert "command_root" in texts(bad) and bad.exit_status() == 4
    assert check(one_frame_store(good, n_events=9).files, contents=True).exit_status() == 4
    # What is in an event is the worker's: shown, but no tampering.
    odd = check(one_frame_store([ms.raw(0, 7, b"x"), ms.event(99, 0, b"?")]).files, contents=True)
    assert odd.exit_status() == 0 and "stream C goes on at 7" in texts(odd)
    assert "unknown type 99" in texts(odd)


def test_one_command_shown_everything_else_sealed():
    f = files()
    two = store().sessions[1]
    report, proof = hv.prove_command(Memory(f), VKEY, two.text, 2)
    assert report.exit_status() == 0
    key = hv.Key(VKEY, "given")
    assert hv.check_proof(proof, key) is None
    assert b"select 10".hex() not in json.dumps(proof), "the raw bytes stay sealed"

    def spoiled(value):
        """Every string and number of the proof changed, one at a time."""
        if isinstance(value, dict):
            for k in value:
                for v in spoiled(value[k]):
                    yield {**value, k: v}
        elif isinstance(value, list):
            for i, x in enumerate(value):
                for v in spoiled(x):
                    yield value[:i] + [v] + value[i + 1:]
        elif isinstance(value, int):
            yield value + 1
        else:
            yield value[:-3] + ("0" if value[-3] != "0" else "1") + value[-2:]
    count = 0
    for bad in spoiled({k: v for k, v in proof.items() if k not in ("hansard_proof", "seq")}):
        assert hv.check_proof({"seq": proof["seq"], **bad}, key) is not None, bad
        count += 1
    assert count > 15


# -- trees and checksums against plain definitions ----------------------------------------------------------


def test_trees():
    leaves = [ms.sha(bytes([i])) for i in range(70)]
    assert hv.roots_at(leaves, range(71)) == {n: ms.root(leaves[:n]) for n in range(71)}
    for n in (1, 2, 3, 7, 8, 33, 70):
        for i in range(n):
            path = hv.audit_path(leaves[:n], i)
            assert hv.root_from_path(leaves[i], i, n, path) == ms.root(leaves[:n])
            assert hv.root_from_path(leaves[i], i, n, path + [path[0] if path else leaves[0]]) is None \
                or not path


def test_crc():
    crc = hv.crc32c.__wrapped__
    assert crc(b"123456789") == 0xE3069283 and crc(b"") == 0
    noise = b"".join(ms.sha(bytes([i])) for i in range(130))
    for n in list(range(120, 140)) + list(range(505, 530)) + [1023, 1024, 1025, 2048, 4096, 4160]:
        assert crc(noise[:n]) == ms.crc32c(noise[:n]), n


# -- the command -----------------------------------------------------------------------------------------------


def run(*args):
    done = subprocess.run([os.environ.get("PYTHON", "python3"), hv.__file__] + list(args),
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


@pytest.fixture
def on_disk(tmp_path):
    s = ms.build()
    s.write(str(tmp_path / "data" / "record"))
    return s, tmp_path / "data"


def test_command_line(on_disk):
    s, data = on_disk
    two = s.sessions[1]
    assert run(str(data), "--vkey", VKEY)[0] == 0
    assert run(str(data / "record"), "--vkey", VKEY, two.text)[0] == 0
    assert run(str(data), two.text[:13])[0] == 0
    code, out, _ = run(str(data), "--json", "--contents")
    said = json.loads(out)
    assert code == said["exit"] == 0 and len(said["sessions"]) == 4 and said["key"]["source"] != "given"
    assert run(str(data), "00000000")[0] == 1
    assert run(str(data / "nothing"))[0] == 1
    assert run()[0] == 2 and run(str(data), "--vkey", "x")[0] == 2 and run(str(data), "no sid!")[0] == 2
    (data / "record" / "log" / "checkpoint").unlink()
    assert run(str(data))[0] == 3


def test_command_line_proof(on_disk, tmp_path):
    s, data = on_disk
    code, out, _ = run(str(data), "--vkey", VKEY, "--prove-command", s.sessions[1].text, "2")
    assert code == 0
    (tmp_path / "proof").write_text(out)
    assert run("-", "--vkey", VKEY, "--check-proof", str(tmp_path / "proof"))[0] == 0
    (tmp_path / "proof").write_text(out.replace('"index": 0', '"index": 1', 1))
    assert run("-", "--vkey", VKEY, "--check-proof", str(tmp_path / "proof"))[0] == 4
    assert run(str(data), "--prove-command", s.sessions[1].text, "1")[0] == 2


def test_session_file_alone(on_disk, tmp_path):
    s, data = on_disk
    two = s.sessions[1]
    copy = tmp_path / os.path.basename(two.path(1))
    copy.write_bytes(s.files[two.path(1)])
    assert run(str(copy))[0] == 3
    assert run(str(data), str(copy), "--vkey", VKEY)[0] == 0
    spoiled = bytearray(s.files[two.path(1)])
    spoiled[500] ^= 4
    copy.write_bytes(spoiled)
    code, out, _ = run(str(copy))
    assert code == 4 and "frame 4" in out and "byte" in out
    code, out, _ = run(str(data), str(copy), "--vkey", VKEY)
    assert code == 4 and "frame 4" in out


def test_a_file_that_is_consistent_but_not_ours(on_disk, tmp_path):
    s, data = on_disk
    two = s.sessions[1]
    forged = forge(two, 4, body=two.frames[4][164:-1] + b"!")
    copy = tmp_path / os.path.basename(two.path(1))
    copy.write_bytes(forged[two.path(1)])
    assert run(str(copy))[0] == 3
    assert run(str(data), str(copy), "--vkey", VKEY)[0] == 4


def test_links_are_refused(on_disk):
    s, data = on_disk
    path = data / "record" / s.sessions[1].path(0)
    kept = path.with_name("kept.tmp")
    path.rename(kept)
    path.symlink_to(kept)
    code, out, _ = run(str(data), "--vkey", VKEY)
    assert code == 4 and "not a plain file" in out


def test_nothing_raw_reaches_the_terminal(on_disk):
    _, data = on_disk
    (data / "record" / "log" / "evil\x1b[2Jname").write_bytes(b"")
    (data / "record" / "log" / "tile" / "0" / "000").write_bytes(b"\x1b[31m")
    _, out, err = run(str(data), "--vkey", VKEY)
    assert "\x1b" not in out + err and "evil" in out


def test_nothing_in_the_store_changes(on_disk):
    _, data = on_disk
    def state():
        return sorted((str(p), p.stat().st_mtime_ns) for p in data.rglob("*"))
    before = state()
    run(str(data), "--vkey", VKEY, "--contents")
    assert state() == before


# -- the same on a store that the C code made -------------------------------------------------------------------


def build_directory():
    top = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
    return os.path.abspath(os.path.join(top, os.environ.get("HANSARD_BUILD", "build")))


def make_c_store(directory, kind="standard"):
    for root, _, names in os.walk(build_directory()):
        if "hansard-teststore" in names:
            subprocess.run([os.path.join(root, "hansard-teststore"), directory, kind], check=True,
                           stdout=subprocess.DEVNULL)
            return
    pytest.skip("hansard-teststore is not in %s (HANSARD_BUILD)" % build_directory())


@pytest.fixture(scope="module")
def c_files(tmp_path_factory):
    directory = str(tmp_path_factory.mktemp("c") / "store")
    make_c_store(directory)
    disk = hv.open_store(directory)
    return {p: disk.read(p) for p, kind in disk.paths() if kind == "file"}


def c_key(f):
    return json.loads(f["node.json"])["vkey"]


def sampled(f, ours, seconds):
    """The step that keeps so many checks within the time, measured on one check."""
    f = dict(f)
    size = sum(len(d.rstrip(b"\0")) for p, d in f.items() if ours(p))
    start = time.time()
    for _ in range(3):
        check(f, c_key(f))
    step = int((time.time() - start) / 3 * size / seconds) + 1
    return step if step % 2 else step + 1  # odd: every column of a row of 32 gets its turn


def test_c_store_is_sound(c_files):
    report = check(c_files, c_key(c_files), contents=True)
    assert not report.has("error"), texts(report)
    assert report.sessions and report.checkpoint is not None
    assert any(s["state"] == "complete" for s in report.sessions.values())


def test_c_store_of_a_long_log(tmp_path):
    make_c_store(str(tmp_path / "long"), "long")
    disk = hv.open_store(str(tmp_path / "long"))
    f = {p: disk.read(p) for p, _ in disk.paths()}
    report = check(f, c_key(f), contents=True)
    assert report.exit_status() == 0 and "log/tile/1/000.p/2" in f, texts(report)
    for path in ("log/tile/0/000", "log/tile/entries/001", "log/tile/1/000.p/2"):
        for offset, report in flips(f, path, range(3, len(f[path]), len(f[path]) // 20), c_key(f)):
            assert named(report, path, ("error",)), (path, offset)


def test_c_store_session_bytes(c_files):
    f = dict(c_files)
    sessions_flipped(f, sampled(f, lambda p: p.endswith(".rec"), 15), c_key(f))


def test_c_store_log_bytes(c_files):
    f = dict(c_files)
    log_flipped(f, sampled(f, lambda p: p.startswith("log/"), 10), c_key(f))


def test_c_store_journal_bytes(c_files):
    f = dict(c_files)
    step = sampled(f, lambda p: p.startswith("journal/"), 15)
    journal_flipped(f, step, torn_is_fine=True, vkey=c_key(f))


def test_c_store_files_removed(c_files):
    for path in c_files:
        if path.startswith("journal/") and not c_files[path].strip(b"\0") or path == "node.json":
            continue
        f = dict(c_files)
        del f[path]
        report = check(f, c_key(c_files))
        sound = check(c_files, c_key(c_files))
        lost = [s for s in sound.sessions if report.sessions.get(s, {"frames": 0})["frames"]
                < sound.sessions[s]["frames"]]
        # Either it is found, or all that was in the file is elsewhere too (journal, part, tile).
        assert report.exit_status() != 0 or named(report, path) or not lost, path


def test_c_store_frames_removed_and_swapped(c_files):
    f = dict(c_files)
    for path in part_paths(f):
        data = f[path]
        places = frames_of(data)
        for (a, b, no), (_, c, _) in list(zip(places, places[1:]))[:40]:
            for forged in (data[:a] + data[b:], data[:a] + data[b:c] + data[a:b] + data[c:]):
                f[path] = forged
                assert named(check(f, c_key(f)), path), (path, no)
        f[path] = data
