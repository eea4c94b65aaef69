"""docs/confinement.md, every cell tried from inside: root without and with packaged users, and an ordinary user."""

import os
import pathlib
import shutil
import subprocess

import pytest

import lab

DOC = lab.ROOT / "docs/confinement.md"
ROLES = ["worker", "recorder", "keeper", "egress", "supervisor"]
ORDINARY = 65534


def table():
    """(capability, role) → cell."""
    lines = [line for line in DOC.read_text().splitlines() if line.startswith("| ")]
    head = [c.strip() for c in lines[0].strip("|").split("|")]
    out = {}
    for line in lines[1:]:
        cells = [c.strip() for c in line.strip("|").split("|")]
        for role, cell in zip(head[1:], cells[1:], strict=True):
            out[cells[0], role] = cell
    assert set(head[1:]) == set(ROLES)
    return out


def expected(cell, mode):
    if cell == "root":
        return "no" if mode == "ordinary" else "yes"
    assert cell in ("yes", "no", "killed"), cell
    return cell


@pytest.fixture(scope="module")
def passwd(tmp_path_factory):
    """/etc/passwd with the packaged users in it."""
    path = tmp_path_factory.mktemp("users") / "passwd"
    text = pathlib.Path("/etc/passwd").read_text()
    for uid, role in enumerate(ROLES[:-1], 61900):
        if f"_hansard-{role}:" not in text:
            text += f"_hansard-{role}:x:{uid}:{uid}::/nonexistent:/usr/sbin/nologin\n"
    path.write_text(text)
    path.chmod(0o644)
    return path


@pytest.fixture(scope="module")
def reachable(binary):
    """The program at a path that an ordinary user reaches."""
    directory = lab.short_dir("probe")
    directory.chmod(0o755)
    copy = directory / "hansard"
    shutil.copy(binary, copy)
    copy.chmod(0o755)
    yield copy
    shutil.rmtree(directory, ignore_errors=True)


def command(mode, program, role, passwd):
    probe = [str(program), "--probe", role]
    if mode == "ordinary" and os.geteuid() == 0:
        return ["setpriv", f"--reuid={ORDINARY}", f"--regid={ORDINARY}", "--clear-groups", *probe]
    if mode == "users":
        return ["unshare", "-m", "sh", "-c", 'mount --bind "$0" /etc/passwd && exec "$@"', str(passwd), *probe]
    return probe


def why_not(mode):
    if mode != "ordinary" and os.geteuid() != 0:
        return "needs root"
    if mode == "root" and "_hansard-worker:" in pathlib.Path("/etc/passwd").read_text():
        return "the packaged users exist on this machine"
    if mode == "users" and subprocess.run(["unshare", "-m", "true"], capture_output=True, check=False).returncode != 0:
        return "no mount namespaces here"
    return None


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("mode", ["root", "users", "ordinary"])
def test_every_cell(mode, role, reachable, passwd):
    if why_not(mode):
        pytest.skip(why_not(mode))
    done = subprocess.run(command(mode, reachable, role, passwd), capture_output=True, text=True, check=False, timeout=60, cwd="/")
    if "cannot be confined here" in done.stderr:
        pytest.skip("no Landlock in this kernel, or a sanitizer's build")
    assert done.returncode == 0, done.stdout + done.stderr
    got = dict(line.split("\t") for line in done.stdout.splitlines())
    want = {capability: expected(cell, mode) for (capability, r), cell in table().items() if r == role}
    assert got == want
