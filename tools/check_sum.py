#!/usr/bin/env python3
"""check_sum.py KIND FILE: counts the checks of one stage's log for tools/check.sh.

KIND is tap (a TAP stream), meson (meson-logs/testlog.json) or pytest (JUnit XML). Prints one line
"passed failed skipped" and after it one line per skip ("skip <name>: <reason>") and per failure
("fail <name>"). A test program that died counts as a failure of its own, whatever it printed before.
"""

import json
import re
import sys
import xml.etree.ElementTree

LINE = re.compile(r"^(not ok|ok)\b\s*\d*\s*-?\s*([^#]*)(?:#\s*(\w+)\s*(.*))?$")


class Sum:
    def __init__(self):
        self.passed = self.failed = self.skipped = 0
        self.lines = []

    def fail(self, name):
        self.failed += 1
        self.lines.append(f"fail {name}")

    def skip(self, name, reason):
        self.skipped += 1
        self.lines.append(f"skip {name}: {reason or 'no reason given'}")

    def tap(self, text, prefix=""):
        """True when the stream says that something failed, or holds no check at all."""
        before = self.failed
        seen, planned = 0, None
        for line in text.splitlines():
            plan = re.match(r"^1\.\.(\d+)", line)
            if plan:
                planned = int(plan[1])
            found = LINE.match(line)
            if not found:
                continue
            seen += 1
            name = prefix + found[2].strip()
            if found[1] == "not ok":
                self.fail(name)
            elif (found[3] or "").upper() == "SKIP":
                self.skip(name, found[4].strip())
            else:
                self.passed += 1
        if self.failed == before and (seen == 0 or planned != seen):
            self.fail(f"{prefix or 'the stream '}ended early: {seen} checks, plan {planned}")
        return self.failed > before

    def meson(self, path):
        count = 0
        for line in open(path, encoding="utf-8", errors="replace"):
            test = json.loads(line)
            count += 1
            name = test["name"].split("/")[-1].strip()
            has_failed = self.tap(test.get("stdout") or "", f"{name}: ")
            if test["result"] not in ("OK", "SKIP", "EXPECTEDFAIL") and not has_failed:
                self.fail(f"{name}: {test['result']} (exit {test.get('returncode')})")
        if count == 0:
            self.fail("meson ran no test")

    def pytest(self, path):
        cases = list(xml.etree.ElementTree.parse(path).getroot().iter("testcase"))
        for case in cases:
            name = f"{case.get('classname', '')}::{case.get('name', '')}"
            skipped = case.find("skipped")
            if case.find("failure") is not None or case.find("error") is not None:
                self.fail(name)
            elif skipped is not None:
                self.skip(name, (skipped.get("message") or "").split("\n")[0])
            else:
                self.passed += 1
        if not cases:
            self.fail("pytest ran no test")


def main():
    kind, path = sys.argv[1:]
    total = Sum()
    try:
        if kind == "tap":
            with open(path, encoding="utf-8", errors="replace") as stream:
                total.tap(stream.read())
        elif kind == "meson":
            total.meson(path)
        else:
            total.pytest(path)
    except (OSError, ValueError, xml.etree.ElementTree.ParseError) as error:
        total.fail(f"{path}: {error}")
    print(total.passed, total.failed, total.skipped)
    print("\n".join(total.lines))
    return 0


if __name__ == "__main__":
    sys.exit(main())
