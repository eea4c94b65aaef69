"""psql, spoken to through its standard input; what each step said is between two lines of \\echo (stdbuf: psql does not flush those)."""

import pathlib
import re
import signal
import subprocess
import tempfile

import steps

MARK = "=hsd="
psql = subprocess.Popen(["stdbuf", "-oL", "psql", "-XAtq", "-F", "\t", "-P", "null=\\N", "-v", "VERBOSITY=sqlstate", "-v", "ON_ERROR_STOP=0"], stdin=subprocess.PIPE,
                        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def talk(text):
    """Everything psql says until the mark; its standard error is in order, since psql flushes."""
    psql.stdin.write(text + f"\n\\echo {MARK}\n")
    psql.stdin.flush()
    got = []
    for line in psql.stdout:
        if line == MARK + "\n":
            return "".join(got)
        got.append(line)
    raise SystemExit("psql ended: " + "".join(got))


def parsed(text):
    error = re.search(r"^(?:psql:.*)?ERROR:\s+(\w{5})$", text, re.M)
    if error:
        return steps.error(error[1])
    return [[None if c == "\\N" else c for c in row.split("\t")] for row in text.splitlines()]


def ask(sql):
    return parsed(talk(sql + ";"))


def query(step):
    if step["step"] == "text":  # one row, and a line's end in it
        return [[None if c == "\\N" else c for c in talk(step["sql"] + ";")[:-1].split("\t")]]
    return steps.rows(step, ask(step["sql"]))


def quoted(value):
    return "null" if value is None else str(value) if isinstance(value, int) else "'" + value.replace("'", "''") + "'"


def prepared(step):
    talk("prepare hsd_p as " + step["sql"] + ";")
    got = [ask(f"execute hsd_p({', '.join(quoted(v) for v in p)})") for p in step["params"]]
    talk("deallocate hsd_p;")
    return got


def sequence(step):
    got = []
    for sql in step["sql"]:
        g = ask(sql)
        got.append(g or None)
    return got


def copy_in(step):
    talk(step["sql"] + ";\n" + steps.copy_lines(step) + "\\.")


def copy_fails(step):
    return parsed(talk(step["sql"] + ";\nx\ty\n\\."))


def copy_out(step):
    with tempfile.TemporaryDirectory() as directory:
        path = pathlib.Path(directory) / "out"
        talk(f"\\copy {step['sql'].removeprefix('copy').replace('to stdout', '')} to '{path}'")
        return steps.lines(path.read_text())


def notice(step):
    text = talk("\\set VERBOSITY terse\n" + step["sql"] + ";\n\\set VERBOSITY sqlstate")
    return re.findall(r"(?:NOTICE|WARNING):  (.*)", text)


def cancel(step):
    """A psql of its own: one that reads a script ends at SIGINT. Too early a SIGINT ends this one as well."""
    while True:
        with subprocess.Popen(["psql", "-X", "-v", "VERBOSITY=sqlstate", "-c", step["sql"]], stderr=subprocess.PIPE, text=True) as other:
            with steps.Canceller(lambda: other.send_signal(signal.SIGINT)):
                said = other.stderr.read()
        if other.returncode != -signal.SIGINT:
            return parsed(said.replace("Cancel request sent\n", ""))


def cursor(step):
    talk("begin; declare hsd_c cursor for " + step["sql"] + ";")
    got = []
    while True:
        some = ask(f"fetch {step['fetch']} from hsd_c")
        if not some:
            break
        got += [row[0] for row in some]
    talk("commit;")
    return steps.totals(got)


def transaction(step):
    talk("begin;\n" + step["sql"][0] + ";\ncommit;\nbegin;\n" + step["sql"][1] + ";\nrollback;")
    return ask(step["sql"][2])


def autosave(step):
    talk("\\set ON_ERROR_ROLLBACK on\nbegin;\n" + step["sql"][0] + ";\n" + step["sql"][1] + ";")
    got = ask(step["sql"][2])
    talk("commit;\n\\set ON_ERROR_ROLLBACK off")
    return got


def listen(step):
    text = talk(f"{step['sql'][0]};\n{step['sql'][1]};")
    return list(re.search(r'notification "(\w+)" with payload "([^"]*)"', text).groups())


def large_in(step):
    """psql sends no parameters: as a literal."""
    return ask(step["sql"].replace("$1", "'" + "y" * steps.LARGE + "'"))


steps.run({f.__name__: f for f in (query, prepared, sequence, copy_in, copy_fails, copy_out, notice, cancel, cursor, transaction, autosave, listen, large_in)})
psql.stdin.close()
psql.wait()
