"""What stands in for an image where no registry can be reached: Debian's packages, and programs that take its words.

They are named `localhost/reelport-stand-in-…`, so that none is taken for the image itself.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tarfile
import tempfile
from functools import cache
from pathlib import Path

from deploy.containers.machine import MachineUnfit
from deploy.containers.podman import build_image, has_image, podman, succeeds
from deploy.fleet.part import FleetError
from deploy.fleet.spark_cluster import find_spark

PYTHON = "python"
"""What Reelport's own image begins with."""
_FOLDER = Path(__file__).parent / "stand_ins"
_CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
_SUITE = "trixie"
_PACKAGES = "python3,python3-venv,ca-certificates"


@cache  # Spark has three services, and each stand-in the same base: a registry that is silent is waited for once
def provide(part: str, image: str) -> str:
    """Give the name of the image of a part: the one that is meant where it can be had, else a stand-in's."""
    if has_image(image):
        return image
    if part == PYTHON:
        name = name_stand_in(part, f"{_SUITE} {_PACKAGES}", _CERTIFICATES)
        _make_debian(name)
        return name
    base, spark = provide(PYTHON, read_base()), find_spark() if part == "spark" else None
    jars = sorted(path.name for path in spark.glob("jars/*.jar")) if spark else []
    name = name_stand_in(part, " ".join([base, *jars]), _FOLDER / part)
    _build(part, name, base)
    return name


def name_stand_in(part: str, made_of: str, recipe: Path) -> str:
    """Name a stand-in by what it is made of and by its recipe, a file or a folder: another one is made anew."""
    digest = hashlib.sha256(made_of.encode())
    for path in sorted(recipe.rglob("*")) if recipe.is_dir() else [recipe]:
        if path.is_file() and "__pycache__" not in path.parts:
            digest.update(f"\0{path.relative_to(recipe)} {path.stat().st_mode}\0".encode() + path.read_bytes())
    return f"localhost/reelport-stand-in-{part}:{digest.hexdigest()[:12]}"


def read_base() -> str:
    """Read off the Containerfile which image Reelport's own begins with."""
    text = (Path(__file__).parents[1] / "container" / "Containerfile").read_text("utf-8")
    return next(line.partition("=")[2] for line in text.splitlines() if line.startswith("ARG PYTHON="))


def _make_debian(name: str) -> None:
    """Make a Debian with Python, which believes the authorities that this machine believes."""
    if _is_made(name):
        return
    if os.geteuid() != 0 or shutil.which("debootstrap") is None:
        raise MachineUnfit("No registry answers, and only root makes a Debian: apt-get install debootstrap")
    with tempfile.TemporaryDirectory(prefix="reelport-debian-") as work:
        root = Path(work) / "root"
        command = ["debootstrap", "--variant=minbase", f"--include={_PACKAGES}", _SUITE, str(root)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise FleetError(f"debootstrap ended with status {done.returncode}:\n{done.stdout[-600:]}")
        for program in ("python", "python3"):
            (root / "usr/local/bin" / program).symlink_to("/usr/bin/python3")
        shutil.copy(_CERTIFICATES, root / _CERTIFICATES.relative_to("/"))
        archive = Path(work) / "root.tar"
        with tarfile.open(archive, "w") as tar:
            tar.add(root, ".")
        podman("import", "--quiet", "--change", f"ENV PIP_CERT={_CERTIFICATES}", str(archive), name)


def _build(part: str, name: str, base: str) -> None:
    if _is_made(name):
        return
    with tempfile.TemporaryDirectory(prefix="reelport-image-") as work:
        folder = Path(work) / part
        shutil.copytree(_FOLDER / part, folder)
        if part == "spark":
            if (home := find_spark()) is None:
                raise MachineUnfit("No registry answers, and for Spark there is none here: make spark (and Java 17)")
            shutil.copytree(home / "jars", folder / "jars")
        build_image(name, folder / "Containerfile", folder, [f"BASE={base}"])


def _is_made(name: str) -> bool:
    return succeeds("image", "exists", name)
