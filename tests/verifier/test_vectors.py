"""The test vectors of docs/record-format.md §11, made by the C code, against the Python verifier."""

import json
import os
import shutil

import pytest

import hansard_verify as hv

PATH = os.path.join(os.path.dirname(os.path.abspath(__file__)), "vectors.json")
TYPES = ("raw", "dropped", "redacted", "injected", "forwarded", "command", "fact", "end", "hidden",
         "digest", "withheld")
KINDS = {"open": 1, "data": 2, "key": 3, "close": 4, "tombstone": 5, "gap": 6, "index": 7, "trailer": 8,
         "fact": 9, "log": 10, "act": 11}


def load():
    with open(PATH, encoding="utf-8") as f:
        return json.load(f)


V = load()


def each(name):
    assert V[name], name
    return pytest.mark.parametrize("v", V[name], ids=[str(i) for i in range(len(V[name]))])


def test_format():
    assert V["format"] == 1
    assert {"crc", "frames", "events", "command_leaves", "segments", "batches", "trees", "inclusion",
            "log_leaves", "bad_log_leaves", "paths", "checkpoints"} <= set(V)


@each("crc")
def test_crc(v):
    assert hv.crc32c(v["data"].encode("utf-8")) == v["crc32c"]


@each("frames")
def test_frame(v):
    data = bytes.fromhex(v["frame"])
    f = hv.parse_frame(data, 0, len(data), "vector")
    assert f.total() == len(data) and f.kind == KINDS[v["kind"]]
    assert f.flags == v["flags"] and f.n_events == v["n_events"] and f.part == v["part"]
    assert hv.sid_bytes(hv.sid_text(f.sid)).hex() == v["sid"].replace("-", "")
    assert f.no == v["frame_no"] and f.first_seq == v["first_seq"]
    assert f.command_root.hex() == v["command_root"] and f.body_hash.hex() == v["body_hash"]
    assert f.leaf().hex() == v["leaf"]
    raw = bytes.fromhex(v["raw"])
    assert f.raw_len == len(raw)
    stored = data[hv.FRAME_SIZE:]
    if f.flags & hv.F_ENCRYPTED:
        return
    if f.flags & hv.F_COMPRESSED:
        if shutil.which("zstd") is None:
            pytest.skip("no zstd")
        stored = hv.unzstd(stored, f.raw_len)
    assert stored == raw
    if f.kind == hv.K_DATA:
        events = hv.walk_events(raw)
        assert len(events) == f.n_events
        assert hv.tree_root([x[0] for x in hv.command_leaves(raw, events)]) == f.command_root


@each("frames")
def test_every_changed_byte_of_a_frame_is_refused(v):
    data = bytearray.fromhex(v["frame"])
    for i in range(len(data)):
        data[i] ^= 0x10
        with pytest.raises(hv.BadFrame):
            hv.parse_frame(bytes(data), 0, len(data), "vector")
        data[i] ^= 0x10
        with pytest.raises(hv.BadFrame):
            hv.parse_frame(bytes(data[:i]), 0, i, "vector")


@each("events")
def test_event(v):
    e = hv.parse_event(bytes.fromhex(v["after_len"]))
    assert TYPES[e["type"] - 1] == v["type"] and e["flags"] & 3 == v["stream"]
    for mine, theirs in (("why", "why"), ("offset", "offset"), ("length", "length"), ("code", "code"),
                         ("rows", "rows"), ("done", "done_dt")):
        if mine in e:
            assert e[mine] == v[theirs], mine
    for mine, theirs in (("bytes", "bytes"), ("name", "name"), ("value", "bytes"), ("reason", "bytes")):
        if mine in e:
            assert e[mine].hex() == v[theirs], mine


@each("command_leaves")
def test_command_leaf(v):
    salt = hv.command_salt(bytes.fromhex(v["salt"]), v["i"])
    assert hv.leaf_hash(salt + bytes.fromhex(v["event"])).hex() == v["leaf"]


@each("segments")
def test_segment(v):
    head = bytes.fromhex(v["head"])
    data = head.ljust(v["size"], b"\0")
    scan = hv.scan_segment("vector", data)
    assert scan.used and not scan.problems
    assert (scan.number, scan.first_batch, scan.first_leaf) == (
        v["number"], v["first_batch"], v["first_leaf"])
    assert scan.node.hex() == v["node"] and scan.salt.hex() == v["salt"]
    for i in range(len(head)):
        changed = bytearray(data)
        changed[i] ^= 1
        assert hv.scan_segment("vector", bytes(changed)).problems, i


@each("batches")
def test_batch(v):
    scan = hv.SegmentScan("vector", 0)
    scan.salt = bytes.fromhex(v["salt"])
    data = bytes.fromhex(v["batch"])
    batch = hv.parse_batch(scan, data, 0)
    assert batch.no == v["number"] and batch.durable_upto == v["durable_upto"]
    assert data[64:].rstrip(b"\0") == bytes.fromhex(v["payload"]).rstrip(b"\0")
    if not v["payload"] or v["payload"].startswith("512a4d18"):
        assert len(batch.frames) == v["frames"] and not scan.problems
    for i in range(64):
        changed = bytearray(data)
        changed[i] ^= 1
        assert hv.parse_batch(scan, bytes(changed), 0) is None, i


@each("inclusion")
def test_inclusion(v):
    path = [bytes.fromhex(p) for p in v["proof"]]
    root = hv.root_from_path(bytes.fromhex(v["leaf"]), v["index"], v["size"], path)
    assert root.hex() == v["root"]


def test_trees():
    assert {v["size"]: v["root"] for v in V["trees"]}[0] == hv.EMPTY_ROOT.hex()
    leaves = tree_leaves()
    for v in V["trees"]:
        assert hv.tree_root(leaves[:v["size"]]).hex() == v["root"]
    for v in V["inclusion"]:
        assert [h.hex() for h in hv.audit_path(leaves[:v["size"]], v["index"])] == v["proof"]


def tree_leaves():
    """Leaf i is the hash of the text "leaf<i>"; checked against the inclusion vectors."""
    leaves = [hv.leaf_hash(b"leaf%d" % i) for i in range(max(v["size"] for v in V["trees"]))]
    assert all(leaves[v["index"]].hex() == v["leaf"] for v in V["inclusion"])
    return leaves


@each("log_leaves")
def test_log_leaf(v):
    leaf = hv.parse_leaf(v["text"].encode("utf-8"))
    assert leaf["t"] in hv.LEAVES


@each("bad_log_leaves")
def test_bad_log_leaf(v):
    with pytest.raises(ValueError):
        hv.parse_leaf(v["text"].encode("utf-8"))


@each("paths")
def test_path(v):
    assert hv.tile_place("log/" + v["path"]) == (v["level"], v["n"], v["width"])


@each("checkpoints")
def test_checkpoint(v):
    note, why = hv.parse_checkpoint(v["note"].encode("utf-8"), hv.Key(v["vkey"], "given"))
    if v["verdict"] == "good":
        assert why is None and note.size > 0
    else:
        expected = {"signature": "signature is false", "malformed": "", "unknown key": "not signed with"}
        assert note is None and expected[v["verdict"]] in why[0]
