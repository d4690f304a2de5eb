"""`make spark`: unpack the jars of the pinned pyspark into .spark, where tests find them (500 MB)."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).parents[1]
HOME = ROOT / ".spark"
_KEPT = "jars"
"""All that a master, a worker and a Connect server are started from."""


def download(folder: Path) -> Path:
    """Download the archive that supply_chain/spark.txt pins by its hash."""
    words = ["download", "--quiet", "--no-deps", "--no-build-isolation", "--require-hashes", "--dest", str(folder)]
    subprocess.run([sys.executable, "-m", "pip", *words, "-r", str(ROOT / "supply_chain" / "spark.txt")], check=True)
    (found,) = folder.iterdir()
    return found


def unpack(archive: Path, home: Path) -> None:
    """Unpack the jars to `home`, which is whole or not there."""
    with tempfile.TemporaryDirectory(dir=home.parent, prefix=".spark-") as text:
        part = Path(text) / "home"
        with tarfile.open(archive) as members:
            for member in members:
                below = PurePosixPath(member.name).parts[1:]
                if member.isfile() and below[:2] == ("deps", _KEPT):
                    member.name = str(PurePosixPath(*below[1:]))
                    members.extract(member, part, filter="data")
        shutil.rmtree(home, ignore_errors=True)
        part.rename(home)


if __name__ == "__main__":
    if not HOME.is_dir():
        with tempfile.TemporaryDirectory() as folder:
            unpack(download(Path(folder)), HOME)
