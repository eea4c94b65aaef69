"""Rules of the format that a writer could break with every checksum right: each is refused by name.
And noise with right checksums: whatever stands in a field, the verifier judges and never falls over.
"""

import random
import struct

import pytest

import hansard_verify as hv
import make_store as ms
from test_verifier import VKEY, check, files, named, rec, store, texts, Memory, setup_module, \
    teardown_module  # noqa: F401 (pytest runs the last two)


def patched(frame, offset, data):
    """The frame with bytes of its header replaced, its CRC right again."""
    head = frame[:offset] + data + frame[offset + len(data):160]
    return head + struct.pack("<I", ms.crc32c(head + frame[164:])) + frame[164:]


def rebatch(data, at, frames=None, patch=None):
    """The batch at `at` of a segment with other frames, or header bytes replaced; CRC right."""
    size = struct.unpack_from("<I", data, at + 4)[0]
    payload = data[at + 64:at + 64 + size] if frames is None else b"".join(frames)
    head = data[at:at + 4] + struct.pack("<I", len(payload)) + data[at + 8:at + 60]
    if frames is not None:
        head = head[:48] + struct.pack("<I", len([x for x in frames if len(x) > 160])) + head[52:]
    if patch is not None:
        head = head[:patch[0]] + patch[1] + head[patch[0] + len(patch[1]):]
    room = -(-(64 + size) // 4096) * 4096
    new = head + struct.pack("<I", ms.crc32c(head + payload)) + payload
    return data[:at] + new.ljust(room, b"\0") + data[at + room:]


FRAME = ms.frame(ms.DATA, bytes(16), 3, 9, bytes(40), n_events=1)


@pytest.mark.parametrize("offset, data, why", [
    (0, b"\x50", "magic"), (4, b"\0", "skip_len"), (8, b"\2", "version"), (10, b"\0", "kind"),
    (10, b"\x0c", "kind"), (11, b"\x40", "flags"), (11, b"\1", "body_len"), (11, b"\2", "body_len"),
    (12, b"\x29", "body_len"), (16, struct.pack("<I", 1 << 21), "raw_len"), (74, b"\1", "zero"),
    (88, b"\1", "key_epoch"), (92, b"\1", "suite"), (128, b"!!", "body_hash"),
])
def test_frame_rules(offset, data, why):
    assert hv.parse_frame(FRAME, 0, len(FRAME), "f").no == 3
    bad = patched(FRAME, offset, data)
    with pytest.raises(hv.BadFrame) as found:
        hv.parse_frame(bad + bytes(8), 0, len(bad) + 8, "f")
    assert why in found.value.text


@pytest.mark.parametrize("offset, data", [
    (8, b"\2"), (12, b"\1"), (16, b"\1"), (96 - 8, b"\1"), (96 - 4, b"\1")])
def test_segment_rules(offset, data):
    f = files()
    name = "journal/00000001.seg"
    head = f[name][:offset] + data + f[name][offset + len(data):96]
    f[name] = head + struct.pack("<I", ms.crc32c(head)) + f[name][100:]
    assert named(check(f), name, ("error",))


def test_segment_of_another_node_or_count():
    for offset, data in ((32, b"other node here!"), (80, b"\x63")):
        s = ms.build()
        s.next_segment()
        s.leaf(t="stop", wall=s.tick(), boot="", batch=s.batch_no - 1)
        name = s.name()
        head = s.files[name][:offset] + data + s.files[name][offset + len(data):96]
        s.files[name] = head + struct.pack("<I", ms.crc32c(head)) + s.files[name][100:]
        s.flush()
        s.tiles()
        s.sign()
        assert named(check(s.files), name, ("error",)), offset


@pytest.mark.parametrize("patch", [(48, b"\x63"), (52, b"\1"), (56, b"\1"), (16, b"\xff" * 8)])
def test_batch_rules(patch):
    f = files()
    name = "journal/00000001.seg"
    f[name] = rebatch(f[name], 4096, patch=patch)
    assert named(check(f), name, ("error",))


def test_a_batch_stands_behind_the_missing_one():
    """§8: a batch is written only when the one before is durable, whatever it says of that itself."""
    s = ms.Store(segment_size=65536)
    s.node()
    one = s.session(2)
    s.flush()
    ms.talk(one, 1)
    at = s.at
    s.flush()
    ms.talk(one, 2)
    later = s.at
    s.flush()
    data = s.files[s.name()]
    lying = rebatch(data, later, patch=(16, struct.pack("<Q", 1)))
    moved = data[:at] + bytes(4096) + data[at:later] + data[later + 4096:]
    for new in (lying[:at] + bytes(4096) + lying[at + 4096:], data[:at] + bytes(4096) + data[at + 4096:], moved):
        report = check({**s.files, s.name(): new})
        assert report.exit_status() == 4 and "stands behind it" in texts(report), texts(report)


def journal_frames(data, at):
    size = struct.unpack_from("<I", data, at + 4)[0]
    out, pos = [], at + 64
    while pos < at + 64 + size:
        n = 164 + struct.unpack_from("<I", data, pos + 12)[0]
        out.append(data[pos:pos + n])
        pos += n
    return out


@pytest.mark.parametrize("change, why", [
    ("twice", "the journal has this frame twice"), ("differs", "differs from the journal"),
    ("log twice", "log frame begins with leaf"), ("log elsewhere", "log frame begins with leaf"),
    ("log sid", "sid or first_seq"), ("log count", "leaves, header says"), ("garbage", "ends inside")])
def test_frames_of_the_journal(change, why):
    """A batch is rewritten by someone who can make checksums right."""
    f = files()
    name = "journal/00000001.seg"
    frames = journal_frames(f[name], 4096)
    log = frames.pop()
    assert frames and log[10] == ms.LOG and frames[0][10] != ms.LOG
    elsewhere = patched(patched(log, 40, b"\x50"), 48, b"\x50")
    new = {"twice": frames + [patched(frames[0], 64, b"!"), log],
           "differs": [patched(frames[0], 64, b"!")] + frames[1:] + [log],
           "log twice": frames + [log, log], "log elsewhere": frames + [elsewhere],
           "log sid": frames + [patched(log, 24, b"!")], "log count": frames + [patched(log, 20, b"\x09")],
           "garbage": frames + [log, b"garbage"]}[change]
    f[name] = rebatch(f[name], 4096, frames=new)
    report = check(f)
    assert report.exit_status() == 4 and why in texts(report), texts(report)


def test_session_only_in_the_journal():
    s = ms.build()
    extra = s.session(7)
    s.leaves.pop()  # the frame is there, its leaf is not
    s.fresh.pop()
    s.flush()
    report = check(s.files)
    assert report.exit_status() == 0 and "not in the log yet" in texts(report)
    ms.talk(s.sessions[3], 60)
    s.head(s.sessions[3])
    s.flush()
    s.tiles()
    s.sign()
    report = check(s.files)
    assert report.exit_status() == 4 and rec(report, extra)["state"] == "altered"


# -- the log, by a writer that has the key -----------------------------------------------------------


def signed(write):
    s = ms.Store(segment_size=65536)
    s.node()
    s.leaf(t="boot", wall=s.tick(), node=ms.NODE.hex(), boot="", version="")
    one = s.session(2)
    ms.talk(one, 1)
    write(s, one)
    s.flush()
    s.tiles()
    s.sign()
    return s.files


def seal_leaf(s, one, **other):
    values = dict(part=0, first=0, frames=len(one.frames),
                  root=ms.root([ms.leaf_of(f) for f in one.frames]).hex())
    values.update(other)
    s.leaf(t="seal", sid=one.text, wall=s.tick(), **values)


def close_leaf(s, one, frames=None, parts=1):
    s.leaf(t="close", sid=one.text, wall=s.tick(), frames=len(one.frames), parts=parts,
           root=ms.root([ms.leaf_of(f) for f in one.frames]).hex(), reason="", gap=False)


def replace(one, no, new):
    """Frame `no` of a session that is still in one part and one batch."""
    old = one.frames[no]
    one.frames[no] = new
    one.parts[0][no] = new
    one.store.pending[one.store.pending.index(old)] = new


def late_frame(s, one):
    one.close()
    ms.talk(one, 3)


CASES = {
    "closes the session again": lambda s, one: (one.close(), close_leaf(s, one)),
    "seals part 0 again": lambda s, one: (one.close(), seal_leaf(s, one)),
    "grow after its close": lambda s, one: (one.close(), s.leaf(
        t="head", wall=s.tick(), batch=0, grew=[[one.text, 9, "00" * 32]])),
    "before the session's open leaf": lambda s, one: s.leaf(
        t="gap", sid=one.text[:-1] + ("0" if one.text[-1] != "0" else "1"), wall=1, after_seq=0, reason=""),
    "events 6 to 98 are missing": lambda s, one: (setattr(one, "seq", 99), ms.talk(one, 2)),
    "comes again": lambda s, one: (setattr(one, "seq", 2), ms.talk(one, 2)),
    "part 3 follows part 0": lambda s, one: (one.parts.extend([[], [], []]), ms.talk(one, 2)),
    "the flag for the last frame": lambda s, one: (one.put(ms.CLOSE, {}), close_leaf(s, one)),
    "frame after the close": late_frame,
    "its last frame is no close frame": lambda s, one: close_leaf(s, one),
    "has 7 parts": lambda s, one: (one.put(ms.CLOSE, {}, flags=32), close_leaf(s, one, parts=7)),
    "in part 1": lambda s, one: seal_leaf(s, one, part=1),
    "does not have all frames": lambda s, one: seal_leaf(
        s, one, frames=1, root=ms.root([ms.leaf_of(one.frames[0])]).hex()),
    "must be the first": lambda s, one: one.put(ms.OPEN, {}),
    "nothing of it is here": lambda s, one: s.leaf(
        t="open", sid=one.text[:-1] + ("0" if one.text[-1] != "0" else "1"), wall=1, leaf="00" * 32),
    "frame 0 is not the one": lambda s, one: replace(one, 0, patched(one.frames[0], 64, b"!")),
    "not that of log leaf": lambda s, one: s.leaf(
        t="head", wall=s.tick(), batch=0, grew=[[one.text, 1, "00" * 32]]),
    "truncated": lambda s, one: s.leaf(
        t="head", wall=s.tick(), batch=0, grew=[[one.text, 50, "00" * 32]]),
}


@pytest.mark.parametrize("why", sorted(CASES))
def test_rules_of_log_and_session(why):
    report = check(signed(CASES[why]))
    assert why in texts(report) and report.exit_status() == 4, texts(report)


def test_after_a_gap_frame_events_may_be_missing():
    def write(s, one):
        one.put(ms.GAP, {"reason": "x", "after_seq": 3, "lost": 5})
        one.seq += 5
        ms.talk(one, 2)
    report = check(signed(write))
    assert report.exit_status() == 0, texts(report)
    assert [s["state"] for s in report.sessions.values()] == ["gap"]


@pytest.mark.parametrize("leaf", [b"{}", b'{"t":"stop","wall":1,"boot":"","batch":1} ', b""])
def test_signed_leaf_that_is_none(leaf):
    report = check(signed(lambda s, one: (s.leaves.append(leaf), s.fresh.append(leaf))))
    assert report.exit_status() == 4 and "log leaf 2: " in texts(report)


def test_bundles_that_contradict():
    f = files()
    whole = f["log/tile/entries/000.p/18"]
    first = 2 + struct.unpack_from(">H", whole)[0]
    f["log/tile/entries/000.p/1"] = whole[:first]
    assert check(f).exit_status() == 0
    f["log/tile/entries/000.p/1"] = whole[:first - 1] + b"!"
    report = check(f)
    assert "log leaf 0 differs from log/tile/entries/000.p/1" in texts(report)


# -- parts -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("which, offset, data", [
    ("index", 11, b"\4"), ("index", 20, b"\1"), ("index", 40, b"\x09"), ("index", 48, b"\x09"),
    ("index", 72, b"\0"), ("index", 80, b"\1"), ("trailer", 11, b"\4"), ("trailer", 40, b"\x09"),
    ("trailer", 72, b"\0"), ("trailer", 96, b"\0"), ("index", 10, b"\x0a")])
def test_index_and_trailer_headers(which, offset, data):
    f = files()
    path = store().sessions[1].path(0)
    old = f[path]
    trailer = old[-236:]
    at = struct.unpack_from("<Q", trailer, 164 + 8)[0]
    index = old[at:-236]
    if which == "index":
        index = patched(index, offset, data)
    else:
        trailer = patched(trailer, offset, data)
    f[path] = old[:at] + index + trailer
    assert named(check(f), path, ("error",))


@pytest.mark.parametrize("offset", [0, 8, 16, 24, 32, 40])
def test_trailer_and_index_bodies(offset):
    f = files()
    path = store().sessions[1].path(0)
    old, two = f[path], store().sessions[1]
    body = bytearray(old[-72:])
    body[offset] ^= 1
    new = ms.frame(ms.TRAILER, two.sid, 3, struct.unpack_from("<Q", old, len(old) - 236 + 48)[0],
                   bytes(body))
    f[path] = old[:-236] + new
    report = check(f)
    assert any(len(old) - 72 <= x.offset < len(old) for x in named(report, path, ("error",)))


def test_index_body():
    f = files()
    two = store().sessions[1]
    path = two.path(0)
    old = f[path]
    at = struct.unpack_from("<Q", old, len(old) - 72 + 8)[0]
    for offset in (0, 8, 16, 24 * 3 - 1):
        body = bytearray(old[at + 164:-236])
        body[offset] ^= 1
        seq = struct.unpack_from("<Q", old, at + 48)[0]
        wall = struct.unpack_from("<Q", old, at + 56)[0]
        f[path] = old[:at] + ms.frame(ms.INDEX, two.sid, 3, seq, bytes(body), wall=wall) + old[-236:]
        report = check(f)
        assert "the index does not fit the frames" in texts(report)
        assert named(report, path, ("error",))[0].offset == at + 164 + offset


def test_clocks_of_index_and_trailer():
    f = files()
    two = store().sessions[1]
    path = two.path(0)
    old = f[path]
    at = struct.unpack_from("<Q", old, len(old) - 72 + 8)[0]
    seq = struct.unpack_from("<Q", old, at + 48)[0]
    f[path] = old[:at] + ms.frame(ms.INDEX, two.sid, 3, seq, old[at + 164:-236], wall=7) + old[-236:]
    assert named(check(f), path, ("error",))[0].offset == at + 56
    f[path] = old[:-236] + ms.frame(ms.TRAILER, two.sid, 3, seq, old[-72:], wall=7)
    assert named(check(f), path, ("error",))[0].offset == len(old) - 236 + 56


def test_log_frame_in_a_part():
    f = files()
    live = store().sessions[3]
    f[live.path()] = live.frames[0] + ms.frame(ms.LOG, live.sid, 1, 1, bytes(16))
    assert "does not belong into a part" in texts(check(f))


def test_encrypted_log_frame():
    f = files()
    name = "journal/00000001.seg"
    frames = journal_frames(f[name], 4096)
    log = frames[-1]
    sealed = ms.frame(ms.LOG, b"\xff" * 16, *struct.unpack_from("<QQ", log, 40), log[164:], flags=1,
                      raw_len=len(log) - 164 - 16, n_events=struct.unpack_from("<I", log, 20)[0], epoch=1)
    f[name] = rebatch(f[name], 4096, frames=frames[:-1] + [sealed])
    assert "log frame is encrypted" in texts(check(f))


def test_a_part_in_two_places():
    f = files()
    path = store().sessions[1].path(0)
    f[path.replace("/21/", "/20/")] = f[path]
    assert "twice" in texts(check(f)) and "directory of its day" in texts(check(f))


def test_node_json():
    f = files()
    for data in (b"", b"[]", b"{}", b'{"format":2}', b"\xff", f["node.json"].replace(b"gw1+", b"gw2+"),
                 f["node.json"].replace(b'"origin":"record', b'"origin":"Record')):
        f["node.json"] = data
        assert named(check(f), "node.json", ("error",)), data


@pytest.mark.parametrize("text", ["", "a+b", "a+00000000+AAAA", VKEY + "x", VKEY[:-1], VKEY.replace("+8", "+9"),
                                  " " + VKEY, VKEY.replace("+AY", "+BY")])
def test_verifier_keys(text):
    with pytest.raises(ValueError):
        hv.Key(text, "given")


# -- events ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("data", [
    b"", b"\1", b"\1\0", b"\1\0\0", b"\1\4\0\0", b"\1\0\x80\x00\0", b"\1\0" + b"\xff" * 9 + b"\x02\0",
    b"\5\1\0\0\0", b"\7\0\0\5abc", b"\6\0\0\0\0\x50", b"\x08\0\0\0\0\0\0\0", b"\0\0\0", b"\x63\0\0"])
def test_malformed_events(data):
    with pytest.raises(ValueError):
        hv.parse_event(data)


# -- noise -------------------------------------------------------------------------------------------


def test_noise_with_right_checksums():
    """Fields of frames, batches and block 0 set at random, all CRCs right: judged, never a crash."""
    rng = random.Random(20261121)
    name = "journal/00000001.seg"
    caught = 0
    for _ in range(400):
        f = files()
        noise = bytes(rng.choice((0, 1, 127, 128, 255, rng.randrange(256))) for _ in range(rng.choice((1, 4, 8))))
        kind = rng.randrange(4)
        if kind == 0:
            path = rng.choice([p for p in f if p.endswith(".rec")])
            frames = rec_frames(f[path])
            i = rng.randrange(len(frames))
            frames[i] = patched(frames[i], rng.randrange(152), noise)
            f[path] = b"".join(frames)
        elif kind == 1:
            starts = [i for i in range(4096, len(f[name]), 4096) if f[name][i:i + 4] == b"HSB1"]
            f[name] = rebatch(f[name], rng.choice(starts), patch=(rng.randrange(52), noise))
        elif kind == 2:
            at = rng.choice([i for i in range(4096, len(f[name]), 4096) if f[name][i:i + 4] == b"HSB1"])
            frames = journal_frames(f[name], at)
            i = rng.randrange(len(frames))
            frames[i] = patched(frames[i], rng.randrange(152), noise)
            f[name] = rebatch(f[name], at, frames=frames)
        else:
            offset = rng.randrange(88)
            head = (f[name][:offset] + noise + f[name][offset + len(noise):])[:96]
            f[name] = head + struct.pack("<I", ms.crc32c(head)) + f[name][100:]
        caught += check(f, contents=rng.random() < 0.2).exit_status() != 0
    assert caught > 300


def rec_frames(data):
    out, at = [], 0
    while at < len(data):
        n = 164 + struct.unpack_from("<I", data, at + 12)[0]
        out.append(data[at:at + n])
        at += n
    return out


def test_noise_in_text_files():
    rng = random.Random(7)
    for path in ("node.json", "log/checkpoint", "log/tile/entries/000.p/18", "log/tile/0/000.p/18"):
        for _ in range(100):
            f = files()
            data = bytearray(f[path])
            for _ in range(rng.randrange(1, 5)):
                i = rng.randrange(len(data))
                data[i:i + rng.randrange(3)] = bytes(rng.randrange(256) for _ in range(rng.randrange(3)))
            f[path] = bytes(data)
            report = check(f)
            assert f[path] == files()[path] or named(report, path), (path, f[path])
    assert hv.check_store(Memory({}), VKEY).exit_status() == 3
