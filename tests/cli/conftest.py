"""What tests of commands share."""

from typing import NamedTuple

import pytest
from rich.console import Console

from msg.cli import app, main


class Done(NamedTuple):
    exit_code: int
    stdout: str
    stderr: str

    @property
    def output(self):
        return self.stdout + self.stderr


@pytest.fixture
def cli(tmp_path, monkeypatch, capsys):
    """Run the command in an empty folder, on a terminal of 100 columns that cannot do colours."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    # help keeps the console that it first wrote to, which another test may have made, of another width
    monkeypatch.setattr(app, "console", Console(width=100))

    def invoke(*arguments):
        status = 0
        try:
            main([str(argument) for argument in arguments])
        except SystemExit as left:
            status = int(left.code or 0)
        return Done(status, *capsys.readouterr())

    return invoke
