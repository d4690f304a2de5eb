"""`make licences`: write supply_chain/licences.csv, the licence of every package in uv.lock, for every platform.

What a package is installed for: *client* is the client alone, an extra has its own name, and *development* is in no
user's installation. A licence is what the package's own metadata states.
"""

from __future__ import annotations

import csv
import email
import subprocess
import sys
import tempfile
import tomllib
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from email.message import Message
from importlib import metadata
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
LIST = ROOT / "supply_chain" / "licences.csv"
PROJECT = "reelport"
# A `License` field that is longer holds a licence's whole text.
LONGEST_NAME = 80
# Packages whose metadata states none, as their own files tell it.
TOLD = {"axe-playwright-python": "MIT (with axe-core: MPL-2.0)", "resvg-py": "MIT"}
COLUMNS = ("package", "version", "licence", "installed for")


@dataclass(frozen=True)
class Package:
    """One package of the lock: all its locked versions, and what it is installed for."""

    name: str
    versions: tuple[str, ...]
    purposes: tuple[str, ...]


def read_lock(path: Path) -> list[Package]:
    """Give every locked package but the project itself, by name."""
    entries = tomllib.loads(path.read_text("utf-8"))["package"]
    needs = {name: set(_needed_names(entries, name)) for name in {entry["name"] for entry in entries}}
    purposes = _list_purposes(next(entry for entry in entries if entry["name"] == PROJECT), needs)
    return [
        Package(
            name,
            tuple(entry["version"] for entry in entries if entry["name"] == name),
            tuple(purpose for purpose, names in purposes.items() if name in names),
        )
        for name in sorted(needs.keys() - {PROJECT})
    ]


def _needed_names(entries: Iterable[Mapping[str, Any]], name: str) -> Iterator[str]:
    """Names that any locked version of a package needs, its own extras included."""
    for entry in entries:
        if entry["name"] == name:
            yield from (need["name"] for need in entry.get("dependencies", ()))
            for extra in entry.get("optional-dependencies", {}).values():
                yield from (need["name"] for need in extra)


def _list_purposes(project: Mapping[str, Any], needs: Mapping[str, set[str]]) -> dict[str, set[str]]:
    """All names that the client, each extra and the work on the project bring, directly or not."""
    groups = project["dev-dependencies"].values()
    roots: dict[str, list[Mapping[str, Any]]] = {"client": project["dependencies"]}
    roots |= project["optional-dependencies"]
    roots["development"] = [need for group in groups for need in group]
    return {purpose: _reach({need["name"] for need in found}, needs) for purpose, found in roots.items()}


def _reach(names: set[str], needs: Mapping[str, set[str]]) -> set[str]:
    reached: set[str] = set()
    while names:
        reached |= names
        names = {need for name in names for need in needs[name]} - reached
    return reached


def read_metadata(package: Package) -> Message:
    """Give a package's own metadata: as installed here, else from its wheel for another platform.

    Raises:
        subprocess.CalledProcessError: the index has no wheel of that version for any platform that is tried.
    """
    try:
        text = metadata.distribution(package.name).read_text("METADATA")
    except metadata.PackageNotFoundError:
        text = _download_metadata(f"{package.name}=={package.versions[0]}")
    return email.message_from_string(text or "")


def _download_metadata(requirement: str) -> str:
    """Read METADATA out of a package's wheel, for Windows where it is not for every platform."""
    words = ["download", "--quiet", "--no-deps", "--only-binary=:all:", "--ignore-requires-python"]
    words += ["--platform=win_amd64", "--platform=any"]
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, "-m", "pip", *words, f"--dest={folder}", requirement], check=True)
        with zipfile.ZipFile(next(Path(folder).iterdir())) as wheel:
            name = next(name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
            return wheel.read(name).decode()


def state_licence(found: Message) -> str:
    """Give the licence that metadata states: its SPDX expression, else its short name, else its classifiers.

    A `License` field may hold the licence's whole text; that is passed over.
    """
    if told := TOLD.get(str(found["Name"]).lower().replace("_", "-")):
        return told
    short = str(found.get("License-Expression") or found.get("License") or "")
    if short and "\n" not in short and len(short) < LONGEST_NAME:
        return short
    classifiers = [str(line) for line in found.get_all("Classifier", [])]
    return ", ".join(line.rsplit(" :: ", 1)[-1] for line in classifiers if line.startswith("License :: "))


def write_list(licences: Mapping[Package, str]) -> None:
    """Write the list: one row a package.

    Raises:
        SystemExit: packages whose metadata states no licence, all of them by name.
    """
    silent = [package.name for package, licence in licences.items() if not licence]
    if silent:
        raise SystemExit(
            f"no licence is stated by {', '.join(silent)}: look at them, then leave them out or tell it here"
        )
    with LIST.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(COLUMNS)
        for package, licence in licences.items():
            rows.writerow((package.name, ", ".join(package.versions), licence, ", ".join(package.purposes)))


if __name__ == "__main__":
    write_list({package: state_licence(read_metadata(package)) for package in read_lock(ROOT / "uv.lock")})
