"""`make site`: build the pages into `site/`, with search and the client's API from its docstrings.

Each page is there as Markdown too, at the same address with `.md` in place of `.html`.

The build fails on a dead link, on a command that Reelport doesn't have, and on a page that nothing leads to.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from pathlib import Path

from cyclopts import App

import reelport
from reelport.cli.main import APP

ROOT = Path(__file__).parent.parent
SITE = ROOT / "site"
"""What is published: HTML, and each page's Markdown beside it."""
OUTSIDE = ("DESIGN.md", "CHANGELOG.md")
"""Pages of the project's root that are pages of the site too."""
API = "reference/python.md"
"""The page that ends with the docstrings of all public names."""
FIRST = ("Client", "AsyncClient", "ReportQuery", "Report", "AsyncReport", "Downloaded", "Table")
"""What a reader of these looks for first."""
LINK = re.compile(r"(!?\[[^\]]*\])\(([^)#\s]*)(#[^)\s]*)?\)")
FENCE = re.compile(r"^```(\w*)( test=[\w.-]+)?\n(.*?)^```$", re.DOTALL | re.MULTILINE)
COMMAND = re.compile(r"^(?:\$ )?(?:\w+=\S+ )*reelport ([a-z][a-z -]*)", re.MULTILINE)


def list_commands(app: App = APP, words: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The words of every command that does something by itself."""
    if app.default_command is not None:
        yield words
    for name in app:
        if not name.startswith("-"):
            yield from list_commands(app[name], (*words, name))


def find_unknown_commands(text: str) -> list[str]:
    """The lines of a page's blocks that call a command which Reelport doesn't have."""
    known = set(list_commands())
    blocks = [block for language, _, block in FENCE.findall(text) if language != "python"]
    called = [line for block in blocks for line in COMMAND.findall(block)]
    return [line for line in called if not known & _prefixes(line)]


def _prefixes(line: str) -> set[tuple[str, ...]]:
    words = tuple(line.split())
    return {words[:length] for length in (1, 2, 3)}


class PagesAreWrong(Exception):
    """A dead link, an unknown command, or a page that nothing leads to; the text names each."""


def build(root: Path, site: Path) -> list[Path]:
    """Build the pages of a checkout into a folder that isn't there yet; give their paths in it.

    PagesAreWrong names everything that is wrong with them.
    """
    with tempfile.TemporaryDirectory(prefix="reelport-site-") as folder:
        work = Path(folder)
        pages = _stage(root, work)
        problems = [*_find_unlisted(work, pages), *_find_unknown(work, pages)]
        if problems:
            raise PagesAreWrong("\n".join(problems))
        words = [str(Path(sys.executable).with_name("zensical")), "build", "--strict"]
        environment = os.environ | {"NO_COLOR": "1"}
        done = subprocess.run(words, cwd=work, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise PagesAreWrong(f"{done.stdout}{done.stderr}".partition("Traceback")[0])
        shutil.move(work / "html", site)
        for page in pages:
            shutil.copy(work / "pages" / page, site / page)
    return pages


def main() -> None:
    """Build the site of this checkout anew."""
    shutil.rmtree(SITE, ignore_errors=True)
    try:
        pages = build(ROOT, SITE)
    except PagesAreWrong as wrong:
        raise SystemExit(str(wrong)) from None
    print(f"{len(pages)} pages: {SITE.relative_to(ROOT)}/index.html")


def _stage(root: Path, work: Path) -> list[Path]:
    """Copy pages and pictures to where the generator reads them; give the pages' paths."""
    folder = work / "pages"
    shutil.copytree(root / "docs", folder, ignore=shutil.ignore_patterns("*.py", "*.toml", "__pycache__"))
    shutil.copy(root / "docs" / "zensical.toml", work)
    (work / "src").symlink_to(root / "src")
    for name in OUTSIDE:
        shutil.copy(root / name, folder / name)
    names = "\n\n".join(f"::: reelport.{name}" for name in (*FIRST, *sorted({*reelport.__all__} - {*FIRST})))
    text = (folder / API).read_text("utf-8")
    (folder / API).write_text(f"{text}\n# All public names\n\n{names}\n", "utf-8")
    for page in folder.rglob("*.md"):
        page.write_text(_adapt(page.read_text("utf-8"), root, page.relative_to(folder)), "utf-8")
        if page.name == "README.md":
            page.rename(page.with_name("index.md"))
    return sorted(path.relative_to(folder) for path in folder.rglob("*.md"))


def _adapt(text: str, root: Path, page: Path) -> str:
    """A page's text for the site: its links within it, its fences without the mark of a test."""
    text = re.sub(r"^(```\w+) test=[\w.-]+$", r"\1", text, flags=re.MULTILINE)
    return LINK.sub(lambda link: _adapt_link(link, root, page), text)


def _adapt_link(link: re.Match[str], root: Path, page: Path) -> str:
    """A link to another page, or its text alone where it leads to a file that is no page."""
    text, target, anchor = link[1], link[2], link[3] or ""
    if "://" in target or not target:
        return link[0]
    source = root / page if str(page) in OUTSIDE else root / "docs" / page
    found = Path(os.path.normpath(source.parent / target))
    if not found.exists():
        return link[0]  # the generator tells of it
    inside = found.relative_to(root)
    if str(inside) in OUTSIDE or (found.is_relative_to(root / "docs") and found.is_file()):
        place = inside if str(inside) in OUTSIDE else found.relative_to(root / "docs")
        place = place.with_name("index.md") if place.name == "README.md" else place
        return f"{text}({_relative(place, page.parent)}{anchor})"
    return text[1:-1] if text.strip("[]`") == str(inside) else f"{text[1:-1]} (`{inside}`)"


def _relative(target: Path, folder: Path) -> str:
    shared = next(part for part in (folder, *folder.parents) if target.is_relative_to(part))
    return "../" * (len(folder.parts) - len(shared.parts)) + str(target.relative_to(shared))


def _find_unlisted(work: Path, pages: list[Path]) -> Iterator[str]:
    """Pages that the list of the site lacks, and those that it has and nobody wrote."""
    settings = tomllib.loads((work / "zensical.toml").read_text("utf-8"))
    listed = set(_list_targets(settings["project"]["nav"]))
    decisions = {str(page) for page in pages if page.match("decisions/0*.md")}
    index = (work / "pages" / "decisions" / "index.md").read_text("utf-8")
    yield from (f"{page}: decisions/README.md doesn't name it" for page in decisions if Path(page).name not in index)
    yield from (f"{page}: docs/zensical.toml doesn't list it" for page in {*map(str, pages)} - listed - decisions)
    yield from (f"{page}: docs/zensical.toml lists it, and it isn't there" for page in listed - {*map(str, pages)})


def _list_targets(entries: list[dict[str, str | list[dict[str, str]]]]) -> Iterator[str]:
    for entry in entries:
        for target in entry.values():
            if isinstance(target, str):
                yield target
            else:
                yield from (page for each in target for page in each.values())


def _find_unknown(work: Path, pages: list[Path]) -> Iterator[str]:
    for page in pages:
        for line in find_unknown_commands((work / "pages" / page).read_text("utf-8")):
            yield f"{page}: reelport {line.strip()}: no such command"


if __name__ == "__main__":
    main()
