"""`make dist`: build sdist and wheel, the same bytes twice, check what is in them, and try them where nothing else is.

The build takes no network: the backend is the locked one of this environment. What is tried comes from the index that
the environment names.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import tarfile
import tempfile
import tomllib
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = "src/reelport/"
TRIES = {
    "": ("reelport --version", "reelport fields list"),
    "server": (
        "reelport --version",
        "reelport org add acme --data d",
        "reelport sample --start 2026-01-01 --end 2026-01-02 --rows 100 --data d",
        "python -c 'import reelport.server.app'",
    ),
}
"""What must work in an environment that holds the wheel, with no extra and with one."""


@dataclass(frozen=True, slots=True)
class Built:
    """The two files of one build."""

    sdist: Path
    wheel: Path


def read_version() -> str:
    """Read the version, which stands in pyproject.toml alone."""
    version: str = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"]
    return version


def build(to: Path, moment: int) -> Built:
    """Build both files into a folder; `moment` (Unix seconds) is the time of all files in them."""
    words = [sys.executable, "-m", "hatchling", "build", "--directory", str(to)]
    environment = os.environ | {"SOURCE_DATE_EPOCH": str(moment)}
    done = subprocess.run(words, cwd=ROOT, env=environment, check=False, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"dist: the build failed:\n{done.stderr}")
    name = f"reelport-{read_version()}"
    return Built(to / f"{name}.tar.gz", to / f"{name}-py3-none-any.whl")


def find_faults(built: Built) -> Iterator[str]:
    """Hold both files against the sources: all of them are there, and nothing else."""
    sources = set(_list_sources())
    package = {name.removeprefix("src/") for name in sources if name.startswith(PACKAGE)}
    yield from _compare("wheel", package, {name for name in _list_wheel(built.wheel) if ".dist-info/" not in name})
    yield from _compare("sdist", sources | {"PKG-INFO"}, set(_list_sdist(built.sdist)))


def _compare(file: str, wanted: set[str], found: set[str]) -> Iterator[str]:
    yield from (f"The {file} lacks {name}." for name in sorted(wanted - found))
    yield from (f"The {file} holds {name}, which is no source." for name in sorted(found - wanted))


def _list_sources() -> Iterator[str]:
    """List what git keeps or would keep."""
    listed = _git("ls-files", "-z", "--cached", "--others", "--exclude-standard")
    return (name for name in listed.split("\0") if name and (ROOT / name).exists())


def _list_wheel(wheel: Path) -> list[str]:
    with zipfile.ZipFile(wheel) as archive:
        return archive.namelist()


def _list_sdist(sdist: Path) -> list[str]:
    with tarfile.open(sdist) as archive:
        return [entry.name.partition("/")[2] for entry in archive if entry.isfile()]


def describe_release(version: str, tags: tuple[str, ...], changes: str) -> tuple[bool, str]:
    """Say whether this is the release of the version; False where tag or changelog contradict it."""
    named = [tag for tag in tags if tag.startswith("v")]
    if not named:
        return True, f"{version}, no release: the commit has no tag v{version}"
    if named != [f"v{version}"]:
        return False, f"The commit is tagged {', '.join(named)}, and pyproject.toml says {version}."
    if f"\n## {version} - " not in changes:
        return False, f"CHANGELOG.md has no section '## {version} - DATE'."
    if changes.partition("\n## Unreleased\n")[2].partition("\n## ")[0].strip():
        return False, f"CHANGELOG.md has changes below '## Unreleased': this build has them, so they are of {version}."
    return True, f"{version}, the release"


def try_wheel(wheel: Path, extra: str) -> None:
    """Install the wheel with an extra ("": none) in an empty environment, and run what must work there."""
    uv = str(Path(sys.executable).with_name("uv"))
    with tempfile.TemporaryDirectory(prefix="reelport-dist-") as folder:
        place = Path(folder) / "env"
        subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, str(place)], check=True)
        wanted = f"reelport[{extra}] @ {wheel.as_uri()}" if extra else f"reelport @ {wheel.as_uri()}"
        install = [uv, "pip", "install", "--quiet", "--python", str(place / "bin/python"), wanted]
        subprocess.run(install, check=True)
        for line in TRIES[extra]:
            name, *words = shlex.split(line)
            run_alone([str(place / "bin" / name), *words], Path(folder))


def run_alone(words: list[str], folder: Path) -> str:
    """Run a command in a folder, with nothing of this environment around it; give what it prints.

    SystemExit with what it said when it fails.
    """
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(folder), "REELPORT_HOME": str(folder / "home")}
    done = subprocess.run(words, cwd=folder, env=environment, check=False, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"dist: {' '.join(words)} failed:\n{done.stderr}")
    return done.stdout


def _git(*words: str) -> str:
    return subprocess.run(
        ["/usr/bin/env", "git", *words], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.strip()


def main() -> None:
    """Build into `dist/` and say what was built; SystemExit with what is wrong."""
    version, moment = read_version(), int(_git("log", "-1", "--format=%ct"))
    right, sentence = describe_release(
        version, tuple(_git("tag", "--points-at", "HEAD").split()), (ROOT / "CHANGELOG.md").read_text("utf-8")
    )
    if not right:
        raise SystemExit(f"dist: {sentence}")
    target = ROOT / "dist"
    shutil.rmtree(target, ignore_errors=True)
    built = build(target, moment)
    with tempfile.TemporaryDirectory(prefix="reelport-dist-") as folder:
        again = build(Path(folder), moment)
        differing = [
            one.name
            for one, other in ((built.sdist, again.sdist), (built.wheel, again.wheel))
            if one.read_bytes() != other.read_bytes()
        ]
    faults = [*(f"{name} has other bytes when it is built again." for name in differing), *find_faults(built)]
    if faults:
        raise SystemExit("dist: " + "\n".join(faults))
    for extra in TRIES:
        try_wheel(built.wheel, extra)
    print(f"{sentence}\n{built.sdist}\n{built.wheel}")


if __name__ == "__main__":
    main()
