#!/usr/bin/env python3
"""lint.py: what a reviewer should not have to say. Prints TAP, one check per gate and file.

    tools/lint/lint.py [--root DIR] [--cache DIR] [gate ...]

Gates: includes, size, words, mentions, config, format, tidy, analyzer. Without arguments all of them run.
Slow gates keep what passed in a cache, keyed by the tool, its configuration and the content of the
file and of every header of ours that it includes. tools/lint/planted.sh proves that each bites.
"""

import argparse
import concurrent.futures
import hashlib
import json
import os
import pathlib
import re
import shlex
import subprocess
import sys

# A folder may include only folders above it in this list (and itself).
FOLDERS = ("base loop net config ipc record catalog policy identity gcp session proto keeper egress console main").split()
FUNCTION_MAX, FILE_MAX, FILE_WARN = 70, 1200, 800
FLAGS = ["-std=gnu17", "-D_GNU_SOURCE", "-D_FILE_OFFSET_BITS=64", "-Isrc", "-Wall", "-Wextra", "-Wno-missing-field-initializers"]
# "p is NULL only when n is 0" (base/str.h) cannot be told to an analyzer; UBSan checks it at run time.
NOISE = ["-Wno-analyzer-null-argument"]
SKIPPED_DIRS = {".git", ".pytest_cache", "__pycache__", "node_modules", "data", "corpus"}
TEXT = {".c", ".h", ".py", ".sh", ".md", ".build", ".txt", ".yaml", ".yml", ".1", ".5", ".7", ".8", ""}


class Lint:
    def __init__(self, root, cache):
        self.root, self.cache = root, cache
        self.count = self.failed = self.cached = 0
        self.defines = None

    def report(self, name, problems):
        """One TAP line; problems is a list of sentences, each with its place."""
        self.count += 1
        for line in problems:
            print(f"# {line}")
        self.failed += bool(problems)
        print(f"{'not ok' if problems else 'ok'} {self.count} - {name}", flush=True)

    def files(self, *suffixes, under=("src", "tests", "tools", "docs", "examples", ".")):
        for top in under:
            base = self.root / top
            names = base.glob("*") if top == "." else base.rglob("*") if base.is_dir() else ()
            for path in sorted(names):
                parts = path.relative_to(self.root).parts
                if path.is_file() and path.suffix in suffixes and not SKIPPED_DIRS & set(parts) and not parts[0].startswith("build"):
                    yield path

    def name(self, path):
        return str(path.relative_to(self.root))

    # ---- includes -------------------------------------------------------------------------------

    def includes_of(self, path):
        for number, line in enumerate(path.read_text().splitlines(), 1):
            found = re.match(r'\s*#\s*include\s+([<"])([^>"]+)[>"]', line)
            if found:
                yield number, found[1] == '"', found[2]

    def include_problems(self, path):
        parts = path.relative_to(self.root).parts
        folder = parts[1] if parts[0] == "src" and len(parts) > 2 else None
        own_count, seen_ours = 0, 0
        for number, is_ours, target in self.includes_of(path):
            place = f"{self.name(path)}:{number}"
            if not is_ours:
                if seen_ours > 1:
                    yield f"{place}: <{target}> comes after headers of ours (own header, then system, then ours)"
                continue
            seen_ours += 1
            own_count += 1
            top = target.split("/")[0]
            if parts[0] == "tests" and "/" not in target and (path.parent / target).is_file():
                continue  # a test in several files
            if "/" not in target or top not in FOLDERS:
                yield f'{place}: "{target}" must be named from src/, with its folder'
            elif folder in FOLDERS and FOLDERS.index(top) > FOLDERS.index(folder):
                yield f'{place}: {folder} may not include {top} ("{target}")'
            elif folder is not None and folder != top and target.endswith("_priv.h"):
                yield f'{place}: "{target}" is private to {top}'

    def gate_includes(self):
        problems = [p for path in self.files(".c", ".h") for p in self.include_problems(path)]
        self.report("includes: order and direction", problems)

    # ---- size -----------------------------------------------------------------------------------

    @staticmethod
    def code_only(text):
        """The text with comments, literals and preprocessor lines blanked; line breaks stay."""
        keep_lines = lambda m: "".join(c for c in m[0] if c == "\n") or " "
        text = re.sub(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])+\'',
                      lambda m: '""' if m[0][0] == '"' else "0" if m[0][0] == "'" else keep_lines(m), text, flags=re.S)
        return re.sub(r"^[ \t]*#(?:[^\n]*\\\n)*[^\n]*", keep_lines, text, flags=re.M)

    def functions(self, path):
        """(line, code lines) of each function body, braces included."""
        code = self.code_only(path.read_text())
        lines = code.split("\n")
        depth, start, before, number = 0, None, "", 1
        for char in code:
            if char == "\n":
                number += 1
            elif char == "{":
                if depth == 0 and before == ")":
                    start = number
                depth += 1
            elif char == "}":
                depth -= 1
                if depth == 0 and start is not None:
                    yield start, sum(1 for line in lines[start - 1:number] if line.strip())
                    start = None
            if not char.isspace():
                before = char

    def gate_size(self):
        problems = []
        for path in self.files(".c", ".h"):
            count = path.read_text().count("\n")
            if count > FILE_MAX:
                problems.append(f"{self.name(path)}: {count} lines, at most {FILE_MAX}")
            elif count > FILE_WARN:
                print(f"# warning: {self.name(path)}: {count} lines, should be at most {FILE_WARN}")
            problems += [f"{self.name(path)}:{line}: function of {code} code lines, at most {FUNCTION_MAX}"
                         for line, code in self.functions(path) if code > FUNCTION_MAX]
        self.report("size: functions and files", problems)

    # ---- words ----------------------------------------------------------------------------------

    WORDS = [
        (r"\b(TODO|FIXME|XXX|HACK)\b|\b[Ss]tub(s|bed)?\b|[Nn]ot implemented", "unfinished work"),
        (r"\b(docker|ghcr|quay|gcr)\.io\b|\bpypi\.org\b|\bnpmjs\.(org|com)\b|\bcrates\.io\b|\bproxy\.golang\.org\b", "a registry's name"),
        (r"(?<![\w.])/(work|root|home)/\w", "a path of one machine"),
        (r"\bissues show\b", "a tool that readers do not have"),
    ]
    CALLS = [(r"(?<![\w.>])rand\((?!\))", "rand() is predictable: random_bytes()"), (r"(?<!\w)system\(", "system() runs a shell")]

    def gate_words(self):
        problems = []
        for path in self.files(*TEXT):
            if self.name(path).startswith("tools/lint/"):
                continue
            try:
                text = path.read_text()
            except UnicodeDecodeError:
                continue
            rules = self.WORDS + (self.CALLS if path.suffix in (".c", ".h") and not path.name.endswith("_test.c") else [])
            problems += [f"{self.name(path)}:{number}: {why}: {line.strip()[:80]}" for pattern, why in rules
                         for number, line in enumerate(text.splitlines(), 1) if re.search(pattern, line)]
        self.report("words: nothing unfinished, no machine of ours", problems)

    # ---- mentions -------------------------------------------------------------------------------

    MENTION = re.compile(r"(?<![\w/.-])((?:src|tests|tools|docs|examples)/[\w./-]*\.(?:c|h|py|sh|md|yaml|json|build))(?::(\w+))?")

    def gate_mentions(self):
        """Maps rot: each file that a document names exists, and so does each function in it."""
        problems = []
        for path in self.files(".md"):
            for number, line in enumerate(path.read_text().splitlines(), 1):
                for name, function in self.MENTION.findall(line):
                    target = self.root / name
                    if not target.is_file():
                        problems.append(f"{self.name(path)}:{number}: {name} is not there")
                    elif function and not function.isdigit() and not re.search(rf"\b{function}\b", target.read_text()):
                        problems.append(f"{self.name(path)}:{number}: {name} has no {function}")
        self.report("mentions: files and functions that documents name", problems)

    # ---- tools ----------------------------------------------------------------------------------

    def run(self, args):
        return subprocess.run(args, cwd=self.root, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", check=False)

    def gate_config(self):
        """An unknown key makes clang-tidy fall back to its defaults and succeed."""
        done = self.run(["clang-tidy-14", "--dump-config", "src/x.c", "--"])
        checks = re.sub(r"\s", "", re.search(r"^Checks: >-\n((?:  .*\n)+)", (self.root / ".clang-tidy").read_text(), re.M)[1])
        problems = [line for line in done.stdout.splitlines() if re.search(r"^Error|: error:", line)]
        if checks not in re.sub(r"['\"\s]|\\n", "", done.stdout):
            problems.append(".clang-tidy: the checks in force are not those of the file")
        done = self.run(["clang-format-14", "--dump-config", "--style=file"])
        problems += [line for line in done.stdout.splitlines() if re.search(r"^Error|: error:", line)]
        self.report("config: clang-tidy and clang-format understand theirs", problems)

    def headers_of(self, path):
        """The file and every header of ours below it, found by reading: exact enough for a cache key."""
        seen, todo = set(), [path]
        while todo:
            at = todo.pop()
            if at in seen or not at.is_file():
                continue
            seen.add(at)
            todo += [self.root / "src" / target for _, is_ours, target in self.includes_of(at) if is_ours]
        return sorted(seen)

    def key_of(self, path, salt):
        h = hashlib.sha256(salt.encode())
        for at in self.headers_of(path):
            h.update(self.name(at).encode() + b"\0" + at.read_bytes())
        return h.hexdigest()

    def per_file(self, gate, command, salt, paths):
        """Runs command(path) for each file that has not passed before; nothing printed = passed."""
        version = self.run([command(pathlib.Path("x"))[0], "--version"]).stdout
        self.cache.mkdir(parents=True, exist_ok=True)

        def one(path):
            mark = self.cache / self.key_of(path, f"{gate}\0{version}\0{salt}\0{command(pathlib.Path(self.name(path)))}")
            if mark.exists():
                return path, None
            done = self.run(command(path.relative_to(self.root)))
            if done.returncode == 0:
                mark.touch()
                return path, []
            noise = r"warnings? generated|^Suppressed|^Use -header-filter|warnings? treated as errors?$"
            told = [line for line in done.stdout.splitlines() if not re.search(noise, line)]
            return path, told[:3 if gate == "format" else 60] or [f"{path} failed"]

        with concurrent.futures.ThreadPoolExecutor(os.cpu_count() or 1) as pool:
            for path, problems in pool.map(one, paths):
                self.cached += problems is None
                self.report(f"{gate}: {self.name(path)}", problems or [])

    def gate_format(self):
        salt = (self.root / ".clang-format").read_text()
        self.per_file("format", lambda path: ["clang-format-14", "--dry-run", "-Werror", str(path)], salt, list(self.files(".c", ".h")))

    def defines_of(self, path):
        """What the build defines for this file beyond FLAGS, if it has been configured."""
        if self.defines is None:
            commands = self.root / "build" / "compile_commands.json"
            entries = json.loads(commands.read_text()) if commands.is_file() else []
            wanted = lambda word: word.startswith("-D") and word not in FLAGS and "_FORTIFY" not in word
            self.defines = {(pathlib.Path(e["directory"]) / e["file"]).resolve(): list(filter(wanted, shlex.split(e["command"])))
                            for e in entries}
        return self.defines.get((self.root / path).resolve(), [])

    def gate_tidy(self):
        salt = (self.root / ".clang-tidy").read_text()

        # A failed CHECK goes on, so every path behind one looks possible to an analyzer.
        def command(path):
            checks = ["--checks=-clang-analyzer-*"] if path.name.endswith("_test.c") else []
            return ["clang-tidy-14", "--quiet", *checks, str(path), "--", *FLAGS, *self.defines_of(path)]
        self.per_file("tidy", command, salt, list(self.files(".c")))

    def gate_analyzer(self):
        # A fuzz target calls to see that nothing breaks; what is returned may not matter.
        def command(path):
            fuzz = ["-Wno-unused-result"] if path.name.endswith("_fuzz.c") else []
            return ["gcc", *FLAGS, *self.defines_of(path), "-O1", "-fanalyzer", *NOISE, *fuzz, "-Werror", "-c", "-o", "/dev/null", str(path)]
        self.per_file("analyzer", command, "", [path for path in self.files(".c") if not path.name.endswith("_test.c")])


GATES = ("includes", "size", "words", "mentions", "config", "format", "tidy", "analyzer")


def main():
    here = pathlib.Path(__file__).resolve().parents[2]
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--root", type=pathlib.Path, default=here)
    parser.add_argument("--cache", type=pathlib.Path, default=here / "build" / "lint-cache")
    parser.add_argument("gates", nargs="*", metavar="gate")
    args = parser.parse_args()
    lint = Lint(args.root.resolve(), args.cache.resolve())
    print("TAP version 13")
    for gate in args.gates or GATES:
        getattr(lint, "gate_" + gate)()
    print(f"1..{lint.count}")
    print(f"# lint: {lint.count} checks, {lint.failed} failed, {lint.cached} unchanged since they passed")
    return 1 if lint.failed else 0


if __name__ == "__main__":
    sys.exit(main())
