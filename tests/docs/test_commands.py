"""Every command that the documentation shows is one that the command line takes."""

import re
import shlex
from pathlib import Path

import pytest

from msg.cli import app

ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def commands():
    """Command lines in fenced blocks, continued ones joined and shell variables replaced."""
    for document in DOCUMENTS:
        for block in re.findall(r"^```\n(.*?)^```$", document.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL):
            lines = block.replace("\\\n", " ").splitlines()
            variables = dict(re.findall(r'^(\w+)="(.*)"$', "\n".join(lines), re.MULTILINE))
            for line in lines:
                if line.startswith("msg ") and "..." not in line:
                    text = re.sub(r"\$(\w+)", lambda name, known=variables: known[name[1]], line)
                    yield pytest.param(shlex.split(text, comments=True)[1:], id=f"{document.name}: {text[:60]}")


@pytest.mark.parametrize("words", list(commands()))
def test_command(words):
    app.parse_args(words, exit_on_error=False, print_error=False)  # raises for what it does not know
