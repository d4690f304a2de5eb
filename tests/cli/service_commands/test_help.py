"""What `--help` of a platform's commands says."""

from __future__ import annotations

from cyclopts import App

from reelport.cli.main import APP


def list_bare(app: App, words: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """The arguments and options below a command that say nothing of what they take."""
    arguments = app.assemble_argument_collection(parse_docstring=True) if app.default_command is not None else ()
    bare = [(*words, each.name) for each in arguments if each.show and not each.parameter.help]
    below = {name for name in app if not name.startswith("-")}
    return bare + [found for name in sorted(below) for found in list_bare(app[name], (*words, name))]


def test_every_option_of_every_command_is_explained() -> None:
    """Positional arguments too."""
    assert list_bare(APP) == []
