"""`make site`: build the pages into `site/`, with search, the client's API from its docstrings, and each page as Markdown.

The build fails on a dead link, on a command that Reelport doesn't have, and on a page that nothing leads to.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

from cyclopts import App

import reelport
from reelport.cli.main import APP

ROOT = Path(__file__).parent.parent
SITE = ROOT / "site"
"""What is published: HTML, and each page's Markdown beside it."""
WORK = ROOT / ".site"
"""The pages as the generator reads them."""
OUTSIDE = ("DESIGN.md", "CHANGELOG.md")
"""Pages of the project's root that are pages of the site too."""
API = "reference/python.md"
LINK = re.compile(r"(!?\[[^\]]*\])\(([^)#\s]*)(#[^)\s]*)?\)")
FENCE = re.compile(r"^```(\w*)( test=[\w-]+)?\n(.*?)^```$", re.DOTALL | re.MULTILINE)
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
    called = [line for language, _, block in FENCE.findall(text) if language != "python" for line in COMMAND.findall(block)]
    return [line for line in called if not known & _prefixes(line)]


def _prefixes(line: str) -> set[tuple[str, ...]]:
    words = tuple(line.split())
    return {words[:length] for length in (1, 2, 3)}


def main() -> None:
    """Build the site anew."""
    shutil.rmtree(WORK, ignore_errors=True)
    shutil.rmtree(SITE, ignore_errors=True)
    pages = _stage()
    problems = [*_find_unlisted(pages), *_find_unknown(pages)]
    if problems:
        raise SystemExit("\n".join(problems))
    program = Path(sys.executable).with_name("zensical")
    done = subprocess.run([program, "build", "--strict"], cwd=WORK, check=False, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{done.stdout}{done.stderr}")
    shutil.move(WORK / "html", SITE)
    for page in pages:
        target = SITE / page
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(WORK / "pages" / page, target)
    print(f"{len(pages)} pages in {SITE.relative_to(ROOT)}/index.html")


def _stage() -> list[Path]:
    """Copy pages and pictures to where the generator reads them; give the pages' paths."""
    folder = WORK / "pages"
    shutil.copytree(ROOT / "docs", folder, ignore=shutil.ignore_patterns("*.py", "*.toml", "__pycache__"))
    shutil.copy(ROOT / "docs" / "zensical.toml", WORK / "zensical.toml")
    for name in OUTSIDE:
        shutil.copy(ROOT / name, folder / name)
    names = "\n\n".join(f"::: reelport.{name}" for name in reelport.__all__)
    (folder / API).write_text(f"# Python\n\nAll public names of `reelport`.\n\n{names}\n", "utf-8")
    pages = sorted(path.relative_to(folder) for path in folder.rglob("*.md"))
    for page in pages:
        text = (folder / page).read_text("utf-8")
        (folder / page).write_text(_adapt(text, page), "utf-8")
    for page in [page for page in pages if page.name == "README.md"]:
        (folder / page).rename(folder / page.with_name("index.md"))
    return sorted(path.relative_to(folder) for path in folder.rglob("*.md"))


def _adapt(text: str, page: Path) -> str:
    """A page's text for the site: its links within it, its fences without the mark of a test."""
    text = re.sub(r"^(```\w+) test=[\w-]+$", r"\1", text, flags=re.MULTILINE)
    return LINK.sub(lambda link: _adapt_link(link, page), text)


def _adapt_link(link: re.Match[str], page: Path) -> str:
    """A link to another page, or its text alone where it leads to a file that is no page."""
    text, target, anchor = link[1], link[2], link[3] or ""
    if "://" in target or not target:
        return link[0]
    source = ROOT / page if page.name in OUTSIDE and page.parent == Path() else ROOT / "docs" / page
    found = (source.parent / target).resolve()
    inside = found.relative_to(ROOT) if found.is_relative_to(ROOT) else found
    if not found.exists():
        return link[0]  # the generator tells of it
    if found in {ROOT / name for name in OUTSIDE} or (found.is_relative_to(ROOT / "docs") and found.is_file()):
        place = Path(found.name) if found.parent == ROOT else found.relative_to(ROOT / "docs")
        place = place.with_name("index.md") if place.name == "README.md" else place
        return f"{text}({_relative(place, page.parent)}{anchor})"
    return f"{text[1:-1]} (`{inside}`)" if text.strip("[]`") != str(inside) else text[1:-1]


def _relative(target: Path, folder: Path) -> str:
    shared = next(part for part in (folder, *folder.parents) if target.is_relative_to(part))
    return "../" * (len(folder.parts) - len(shared.parts)) + str(target.relative_to(shared))


def _find_unlisted(pages: list[Path]) -> Iterator[str]:
    """Pages that the list of the site lacks, and those that it has and nobody wrote."""
    settings = tomllib.loads((WORK / "zensical.toml").read_text("utf-8"))
    listed = set(_list_targets(settings["project"]["nav"]))
    decisions = {str(page) for page in pages if page.match("decisions/0*.md")}
    index = (WORK / "pages" / "decisions" / "index.md").read_text("utf-8")
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


def _find_unknown(pages: list[Path]) -> Iterator[str]:
    for page in pages:
        for line in find_unknown_commands((WORK / "pages" / page).read_text("utf-8")):
            yield f"{page}: reelport {line.strip()}: no such command"


if __name__ == "__main__":
    main()
