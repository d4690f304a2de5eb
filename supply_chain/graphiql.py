"""`make graphiql`: copy GraphiQL and what it is made of from packages of npm into the service's package.

The copies are committed, so that neither a build nor an installation needs npm. Each is pinned by the hash of its
content. GraphiQL 4 is the last that runs without a bundler and without workers.
"""

from __future__ import annotations

import gzip
import hashlib
import re
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
TARGET = ROOT / "src" / "reelport" / "server" / "graphiql"
_FONTS = re.compile(rb"@font-face\s*\{[^}]*\}")
"""Two fifths of all bytes; the system's fonts do as well."""


@dataclass(frozen=True, slots=True)
class Copy:
    """A file of a package, by the name of its copy; the hash is of what is kept."""

    name: str
    package: str
    file: str
    sha256: str


COPIES = (
    Copy(
        "react.js",
        "react@18.3.1",
        "umd/react.production.min.js",
        "d949f1c3687aedadcedac85261865f29b17cd273997e7f6b2bfc53b2f9d4c4dd",
    ),
    Copy(
        "react-dom.js",
        "react-dom@18.3.1",
        "umd/react-dom.production.min.js",
        "35f4f974f4b2bcd44da73963347f8952e341f83909e4498227d4e26b98f66f0d",
    ),
    Copy(
        "graphiql.js",
        "graphiql@4.1.2",
        "dist/index.umd.js",
        "867226ba8af5ce7949903fc53932f78dac9f4bfc6cc8da0fd3869b8bc6c5256b",
    ),
    Copy(
        "graphiql.css",
        "graphiql@4.1.2",
        "dist/style.css",
        "83c8292f50e4a932459e192a81309893d4017a5a6990af52413bad697970f1ec",
    ),
)
LICENCES = "licences.txt"


def find_faults(folder: Path) -> Iterator[str]:
    """Hold the copies in a folder against their hashes."""
    for copy in COPIES:
        content = gzip.decompress((folder / f"{copy.name}.gz").read_bytes())
        if hashlib.sha256(content).hexdigest() != copy.sha256:
            yield f"{copy.name} is not the pinned file of {copy.package}."


def write_copies(folder: Path) -> None:
    """Fetch the packages, and write their files compressed, and their licences."""
    licences: dict[str, str] = {}
    for copy in COPIES:
        content = read_package(copy.package, copy.file)
        kept = _FONTS.sub(b"", content) if copy.name.endswith(".css") else content
        (folder / f"{copy.name}.gz").write_bytes(gzip.compress(kept, 9, mtime=0))
        licences[copy.package] = read_package(copy.package, "LICENSE").decode()
    texts = (f"{package}\n\n{text}" for package, text in licences.items())
    (folder / LICENCES).write_text("\n\n".join(texts), "utf-8")


def read_package(package: str, file: str) -> bytes:
    """Read a file of a package of npm."""
    with tempfile.TemporaryDirectory() as folder:
        words = ["npm", "pack", package, "--silent", "--pack-destination", folder]
        subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
        (archive,) = Path(folder).iterdir()
        with tarfile.open(archive) as members:
            found = members.extractfile(f"package/{file}")
            assert found is not None  # noqa: S101 - told to the type checker
            return found.read()


if __name__ == "__main__":
    write_copies(TARGET)
    if faults := list(find_faults(TARGET)):
        raise SystemExit("graphiql: " + "\n".join(faults))
