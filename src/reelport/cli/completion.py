"""`reelport completion`: print the script that completes commands and options."""

from __future__ import annotations

from enum import StrEnum
from importlib.util import find_spec
from typing import Annotated

from cyclopts import Parameter

from reelport.cli.main import CLIENT_COMMANDS, SERVER_COMMANDS, build_application

_SERVER_LIBRARIES = ("sqlalchemy", "duckdb", "pyarrow", "deltalake")  # libraries that the service's commands need


class Shell(StrEnum):
    """Shells with a completion script."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


def completion(shell: Annotated[Shell, Parameter(help="The shell.")], /) -> None:
    """Print the script that completes commands and options in a shell.

    Example: reelport completion bash

    Where it goes, to be printed anew after an update:
    bash: ~/.local/share/bash-completion/completions/reelport
    zsh: a file _reelport in a folder of $fpath
    fish: ~/.config/fish/completions/reelport.fish
    """
    can_serve = all(find_spec(name) is not None for name in _SERVER_LIBRARIES)
    app = build_application(CLIENT_COMMANDS, SERVER_COMMANDS if can_serve else {})
    print(app.generate_completion(prog_name="reelport", shell=shell.value))
