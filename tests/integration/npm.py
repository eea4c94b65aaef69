"""Packages of npm that tests run: installed from a lock file, once, in the folder's own node_modules.

The lock files name no registry; whichever this machine is set up for serves them, and the hashes in the
lock file decide whether what came is right. .npmrc in the folder keeps new lock files so.
"""

import fcntl
import hashlib
import re
import shutil

import pytest

import lab


def install(folder, scripts=False):
    """Runs `npm ci` if the lock file is not what was installed; returns node_modules."""
    modules, lock = folder / "node_modules", folder / "package-lock.json"
    stamp = modules / ".installed"
    if not shutil.which("node") or not shutil.which("npm"):
        pytest.skip("node and npm are not installed: make deps")
    # Tests run side by side; the lock goes with its holder.
    with open(lock, "rb") as f:
        fcntl.flock(f, fcntl.LOCK_EX)
        want = hashlib.sha256(f.read()).hexdigest()
        if stamp.exists() and stamp.read_text() == want:
            return modules
        done = lab.run(["npm", "ci", "--no-audit", "--no-fund", *([] if scripts else ["--ignore-scripts"])], check=False, cwd=folder, timeout=170)
        if done.returncode != 0 and re.search(r"ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ETIMEDOUT|ENETUNREACH", done.stderr):
            pytest.skip(f"npm reaches no registry: {folder.name}")
        assert done.returncode == 0, done.stderr
        stamp.write_text(want)
    return modules
