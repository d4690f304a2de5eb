"""A store of images and containers of a test's own, beside this machine's: nothing of it outlives the test.

Podman takes its place and its settings from the environment, so a command that knows nothing of it works in it. A
process that ends with its stdin removes all of it, and so also after tests that were killed.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
from deploy.containers.podman import podman
from deploy.fleet.part import FleetError
from tests.patience import PATIENCE, until

ROOT = Path(__file__).parents[2]
PLACE = Path("/var/tmp")  # noqa: S108 - a folder of a name that nobody guesses; gigabytes, often too many for /tmp
PREFIX = "reelport-images-"
VARIABLE = "CONTAINERS_STORAGE_CONF"
NAMESPACES = Path("/run/netns")
SHARED = "aardvark-dns"
"""Serves the names of containers of all stores; it ends by itself when no network is left."""
WATCHER = "conmon"
"""Podman's, one for each container: it ends with that."""
STORAGE = """[storage]
driver = "overlay"
graphroot = "{0}/images"
runroot = "{0}/run"
"""
# Locks in shared memory would be those of this machine's store.
SETTINGS = """[engine]
lock_type = "file"
tmp_dir = "{0}/tmp"
image_copy_tmp_dir = "{0}/builds"
[network]
network_config_dir = "{0}/networks"
"""


@dataclass(frozen=True)
class ImageStore:
    """A store below a folder."""

    folder: Path

    @property
    def environment(self) -> dict[str, str]:
        """What makes podman work in it, and whatever calls podman."""
        settings = str(self.folder / "containers.conf")
        return {
            VARIABLE: str(self.folder / "storage.conf"),
            "CONTAINERS_CONF_OVERRIDE": settings,
            "PODMAN_IGNORE_CGROUPSV1_WARNING": "1",
        }

    def podman(self, *words: str) -> str:
        """Run podman in it. It is named in words too: what removes containers must never reach this machine's."""
        places = [f"--root={self.folder}/images", f"--runroot={self.folder}/run"]
        places.append(f"--tmpdir={self.folder / 'tmp'}")
        return podman(*places, *words, environment=self.environment)

    def list_containers(self) -> list[str]:
        """List the ids of all containers, also of those that have ended."""
        return self.podman("ps", "--all", "--quiet").split()

    def bring(self, images: Mapping[str, str]) -> None:
        """Copy images of this machine's store; each gets the name that it is to have here."""
        archive = str(self.folder / "images.tar")
        podman("save", "--quiet", "--multi-image-archive", "--output", archive, *sorted({*images.values()}))
        self.podman("load", "--quiet", "--input", archive)
        Path(archive).unlink()
        for name, source in images.items():
            self.podman("tag", source, name)


@contextmanager
def make_image_store(*locks: int) -> Iterator[ImageStore]:
    """A store for the block: gone after it with all that runs in it, also when the tests are killed.

    Locks are those that the tests hold: held until it is gone.
    """
    store = ImageStore(Path(tempfile.mkdtemp(prefix=PREFIX, dir=PLACE)))
    words = [sys.executable, "-m", "tests.deploy.image_store", str(store.folder)]
    # In a session of its own: what kills the tests kills their session, or their group.
    with subprocess.Popen(
        words,
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        pass_fds=locks,
        start_new_session=True,
    ) as remover:
        try:
            (store.folder / "builds").mkdir()
            (store.folder / "storage.conf").write_text(STORAGE.format(store.folder))
            (store.folder / "containers.conf").write_text(SETTINGS.format(store.folder))
            used = podman("info", "--format", "{{.Store.GraphRoot}}", environment=store.environment)
            assert used == f"{store.folder}/images", "podman takes no store from the environment"
            yield store
        finally:
            _, told = remover.communicate(timeout=2 * PATIENCE)
            assert remover.returncode == 0, told.decode()


def remove_leftovers() -> None:
    """Remove stores whose tests and whose remover were killed; call it while no other test has one."""
    for folder in PLACE.glob(f"{PREFIX}*"):
        if not folder.is_symlink() and folder.stat().st_uid == os.geteuid():
            remove(ImageStore(folder))


def remove(store: ImageStore) -> None:
    """End all that runs in a store or starts something there, unmount what is left, and delete it."""
    _end(lambda process: _works_in(process, store) and process.name() != WATCHER)
    networks = _find_networks(store)
    if (store.folder / "storage.conf").exists():
        assert until(lambda: _is_without_containers(store)), "containers can't be removed"
        _delete_unlisted(store)
    _end(lambda process: _works_in(process, store) or _has_root_in(process, store))
    for name in networks:
        _unmount(str(name))
        name.unlink(missing_ok=True)
    assert until(lambda: _is_unmounted(store)), "something is mounted still"
    # Whoever finds it half deleted needs podman no more.
    (store.folder / "storage.conf").unlink(missing_ok=True)
    shutil.rmtree(store.folder)


def _is_without_containers(store: ImageStore) -> bool:
    # One that another one depends on stays, without a word: it goes at the next time.
    with suppress(FleetError):
        store.podman("pod", "rm", "--all", "--force", "--time=0")
        store.podman("rm", "--all", "--force", "--time=0", "--volumes")
        return not store.list_containers()
    return False


def _delete_unlisted(store: ImageStore) -> None:
    """Delete containers that podman doesn't list: those of builds, and those that were killed at their start."""
    runtime = store.podman("info", "--format", "{{.Host.OCIRuntime.Path}}")
    listed = subprocess.run([runtime, "list", "--format", "json"], capture_output=True, text=True, check=True).stdout
    for each in json.loads(listed) or ():
        if each["bundle"].startswith(f"{store.folder}/"):
            subprocess.run([runtime, "delete", "--force", each["id"]], capture_output=True, check=False)


def _end(chosen: Callable[[psutil.Process], bool]) -> None:
    """End processes, as long as there are any: those that clean up behind themselves get the time for it."""
    for by in (signal.SIGTERM, signal.SIGKILL):
        found = [process for process in psutil.process_iter() if _is(process, chosen)]
        for process in found:
            with suppress(psutil.NoSuchProcess):
                process.send_signal(by)
        psutil.wait_procs(found, timeout=10)
    assert until(lambda: not any(_is(process, chosen) for process in psutil.process_iter())), "a process stays"


def _is(process: psutil.Process, chosen: Callable[[psutil.Process], bool]) -> bool:
    with suppress(psutil.Error, OSError):
        return process.status() != psutil.STATUS_ZOMBIE and chosen(process)
    return False


def _works_in(process: psutil.Process, store: ImageStore) -> bool:
    """Whether it was started with the store's environment."""
    environment: dict[str, str] = process.environ()
    return environment.get(VARIABLE) == store.environment[VARIABLE] and process.name() != SHARED


def _has_root_in(process: psutil.Process, store: ImageStore) -> bool:
    """Whether it runs in a container of the store, or in one of a build, which podman lists nowhere."""
    mounts = Path(f"/proc/{process.pid}/mountinfo").read_text().splitlines()
    return any(line.split()[4] == "/" and f"{store.folder}/" in line for line in mounts)


def _find_networks(store: ImageStore) -> list[Path]:
    """Files that keep the networks of containers, where those run without podman's knowledge."""
    chosen = [process for process in psutil.process_iter() if _is(process, lambda each: _has_root_in(each, store))]
    own = set()
    for process in chosen:
        with suppress(OSError):
            own.add(Path(f"/proc/{process.pid}/ns/net").stat().st_ino)
    own.discard(Path("/proc/self/ns/net").stat().st_ino)
    return [path for path in NAMESPACES.glob("*") if path.stat().st_ino in own]


def _is_unmounted(store: ImageStore) -> bool:
    for mounted in reversed(_list_mounts(store)):
        _unmount(mounted)
    return not _list_mounts(store)


def _list_mounts(store: ImageStore) -> list[str]:
    places = [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()]
    return [place for place in places if place.startswith(f"{store.folder}/")]


def _unmount(place: str) -> None:
    subprocess.run(["/usr/bin/env", "umount", place], capture_output=True, check=False)


if __name__ == "__main__":
    sys.stdin.read()
    remove(ImageStore(Path(sys.argv[1])))
