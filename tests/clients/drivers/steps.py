"""What the programs in Python share: the steps, the results' form, the lines."""

import hashlib
import json
import os
import pathlib
import re
import sys
import threading

LARGE = int(os.environ.get("HSD_LARGE", "1000"))
HOST, PORT, USER, DATABASE, PASSWORD = (os.environ[f"PG{x}"] for x in ("HOST", "PORT", "USER", "DATABASE", "PASSWORD"))
SSLMODE, ROOTCERT = os.environ.get("PGSSLMODE", "disable"), os.environ.get("PGSSLROOTCERT")


def digest(text):
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def column(value):
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value).hex()
    return str(value)


def rows(step, result):
    """Rows of any sequence type in the script's form."""
    got = [[column(c) for c in row] for row in result]
    if step.get("digest"):
        return [str(len(got)), digest("\n".join("\t".join("\\N" if c is None else c for c in row) for row in got))]
    return got


def lines(text):
    return [str(text.count("\n")), digest(text)]


def copy_lines(step):
    return "".join(f"{i}\trow {i}\n" for i in range(1, step["rows"] + 1))


def error(sqlstate):
    return {"error": sqlstate}


def placeholders(sql, form):
    return re.sub(r"\$\d+", form, sql)


def totals(values):
    values = list(values)
    return [str(len(values)), str(sum(int(v) for v in values))]


class Canceller:
    """Calls `cancel` again and again, in a thread, until the block is left."""

    def __init__(self, cancel):
        self.cancel, self.over = cancel, threading.Event()
        self.thread = threading.Thread(target=self.work, daemon=True)

    def work(self):
        while not self.over.wait(0.3):
            self.cancel()

    def __enter__(self):
        self.thread.start()

    def __exit__(self, *_):
        self.over.set()
        self.thread.join()


def selected(ops):
    only = os.environ.get("HSD_STEPS")
    for step in json.loads((pathlib.Path(__file__).parents[1] / "steps.json").read_text()):
        if step["op"] in ops and step.get("needs", step["op"]) in ops and (not only or step["step"] in only.split(",")):
            if isinstance(step.get("sql"), str):
                step["sql"] = step["sql"].replace("{large}", str(LARGE))
            yield step


def say(step, result, **extra):
    print(json.dumps({"step": step["step"], "result": result, **extra}, ensure_ascii=False))
    sys.stdout.flush()


def run(ops, said=None):
    """ops: op → function of the step. said: step → what stands in the statement that the client wrote itself."""
    for step in selected(ops):
        result = ops[step["op"]](step)
        extra = {"said": said[step["step"]]} if said and step["step"] in said else {}
        say(step, result, **extra)
