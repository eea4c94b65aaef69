"""Manual pages: mandoc finds nothing to say, and every option of --help is on the page of its command."""

import re
import shutil

import pytest

import lab

PAGES = sorted((lab.ROOT / "docs" / "man").glob("*.[1-8]"))
HANSARD = lab.hansard_binary()


def commands():
    out = lab.run([HANSARD, "--help"]).stdout
    return [name for name in re.findall(r"^  ([a-z]+) ", out, re.M) if name != "help"]


@pytest.mark.skipif(shutil.which("mandoc") is None, reason="mandoc is not installed")
@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_page_is_clean(page):
    done = lab.run(["mandoc", "-T", "lint", "-W", "warning", page], check=False)
    assert done.stdout + done.stderr == ""


@pytest.mark.parametrize("command", commands())
def test_every_option_is_documented(command):
    mentions = [p.read_text() for p in PAGES if re.search(rf"^\.Nm hansard\n\.Cm {command}$|^\.Nm hansard {command}$", p.read_text(), re.M)]
    assert mentions, f"no page has hansard {command} in its synopsis"
    text = lab.run([HANSARD, command, "--help"]).stdout
    options = set(re.findall(r"--([a-z][a-z-]*)", text.split("Mandatory or optional")[0])) - {"help", "usage", "version"}
    documented = set(re.findall(r"Fl -([a-z][a-z-]*)", "\n".join(mentions)))
    assert options <= documented, f"missing on the page: {sorted(options - documented)}"


def test_documented_options_exist():
    helped = set()
    for command in commands():
        helped |= set(re.findall(r"--([a-z][a-z-]*)", lab.run([HANSARD, command, "--help"]).stdout))
    for page in PAGES:
        unknown = set(re.findall(r"^\.It.*Fl -([a-z][a-z-]*)", page.read_text(), re.M)) - helped
        assert not unknown, f"{page.name}: {sorted(unknown)}"


def test_completion_is_a_script():
    for shell in ("bash", "zsh"):
        script = lab.run([HANSARD, "completion", shell]).stdout
        lab.run(["bash", "-nc", script])
    done = lab.run(["bash", "-c", f'source <({HANSARD} completion bash); COMP_WORDS=({HANSARD} pl); COMP_CWORD=1; _hansard; echo "${{COMPREPLY[@]}}"'])
    assert done.stdout.strip() == "play"
