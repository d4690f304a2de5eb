"""The compose file of the fleet, without an engine for one: what it names is there, and programs take their words."""

from __future__ import annotations

import re
import shlex
import shutil
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml
from deploy.containers.images import read_base
from deploy.fleet.spark_cluster import find_spark
from tests import forked
from tests.deploy.empty_root import Stage, parse_containerfile
from tests.deploy.programs import find_tool, make_certificate

from reelport.server.settings import setting_names, variable_name
from reelport.storage.s3_address import ENDPOINT

ROOT = Path(__file__).parents[2]
CONTAINER = ROOT / "deploy" / "container"
FILE = CONTAINER / "compose.fleet.yml"
OWN = ("api-1", "api-2", "worker", "worker-spark")
"""Services that run Reelport."""
OTHERS = {"AWS_ENDPOINT_URL", "AWS_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "SSL_CERT_FILE"}
"""Variables of the object store's client."""
OF_THE_SERVER = {"FORWARDED_ALLOW_IPS"}
ROOT_ONES = {"postgresql", "objects"}
"""The images that begin as root: the first gives it up itself, the second has no capability."""
GIVEN = {"POSTGRES_PASSWORD": "p" * 16, "REELPORT_SECRET": "s" * 32, "OBJECTS_SECRET": "o" * 16}
READ = """
from reelport.server.settings import read_settings
settings = read_settings()
print(settings.database_url, settings.files_url, settings.workers, settings.public_url, settings.engine, sep="\\n")
"""


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(FILE.read_text("utf-8"))
    return found


@pytest.fixture(scope="module")
def image() -> Stage:
    """What runs in the containers of Reelport."""
    return parse_containerfile(CONTAINER / "Containerfile")[1]


@pytest.fixture(scope="module")
def example() -> dict[str, str]:
    """The example of the variables, filled in."""
    lines = (CONTAINER / "fleet.env.example").read_text("utf-8").splitlines()
    pairs = (line.split("=", 1) for line in lines if line and not line.startswith("#"))
    return {name: value or GIVEN[name] for name, value in pairs}


def fill(text: object, values: dict[str, str]) -> str:
    """Put the variables in, as compose does."""
    return re.sub(r"\$\{(\w+)[^}]*\}", lambda found: values[found[1]], str(text))


def mounts(service: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """What is mounted in a service, and where."""
    for mount in service.get("volumes", ()):
        source, target = re.fullmatch(r"((?:\$\{[^}]*\}|[^:])+):([^:]+)(?::ro)?", mount).groups()  # type: ignore[union-attr]
        yield source, target


def test_the_fleet_has_the_parts_of_the_one_that_is_tried(compose: dict[str, Any]) -> None:
    """Two API processes, three workers, two workers of Spark, and one of each other part."""
    counts = {name: each.get("deploy", {}).get("replicas", 1) for name, each in compose["services"].items()}
    one = ("postgresql", "objects", "api-1", "api-2", "worker-spark", "spark-master", "spark-connect", "nginx")
    assert counts == dict.fromkeys(one, 1) | {"worker": 2, "spark-worker": 2}


def test_every_variable_is_one_that_the_service_reads(compose: dict[str, Any], example: dict[str, str]) -> None:
    """And the example has each that is asked for, and no other."""
    known = {variable_name(name) for name in setting_names()} | OTHERS | OF_THE_SERVER
    assert {name for service in OWN for name in compose["services"][service]["environment"]} <= known
    assert set(re.findall(r"\$\{(\w+)", FILE.read_text("utf-8"))) == set(example)


@pytest.mark.parametrize("name", ["api-1", "worker-spark"])
def test_the_settings_are_taken(compose: dict[str, Any], image: Stage, example: dict[str, str], name: str) -> None:
    """By the service's own reader, with the image's; among others that the store is spoken to by TLS."""
    given = {each: fill(value, example) for each, value in compose["services"][name]["environment"].items()}
    environment = {each: value for each, value in image.environment.items() if each.startswith("REELPORT_")} | given
    assert environment[ENDPOINT].startswith("https://objects:")
    with forked.Popen(["-c", READ], env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as read:
        said, errors = read.communicate(timeout=300)
    assert read.returncode == 0, errors
    database, files, workers, public, engine = said.splitlines()
    assert database == f"postgresql://reelport:{GIVEN['POSTGRES_PASSWORD']}@postgresql/reelport"
    assert (files, workers, public) == ("s3://reelport/files", "0", example["REELPORT_PUBLIC_URL"])
    assert engine == ("sc://spark-connect:15002" if name == "worker-spark" else "")


def test_what_is_mounted_and_built_is_there(compose: dict[str, Any], image: Stage) -> None:
    """Files of the tree, of the certificates' folder, and volumes; Spark sees the tables where Reelport has them."""
    data = image.environment["REELPORT_DATA"]
    certificates = {"fullchain.pem", "privkey.pem", "objects.pem", "objects.key"}
    volumes = set()
    for service in compose["services"].values():
        for source, _ in mounts(service):
            if source.startswith("."):
                assert (CONTAINER / source).resolve().is_file()
            elif source.startswith("$"):
                certificates.discard(source.rpartition("/")[2])
            else:
                volumes.add(source)
    assert certificates == set()
    assert volumes == set(compose["volumes"])
    for name in (*OWN, "spark-worker", "spark-connect"):
        assert ("data", data) in mounts(compose["services"][name])
    for name in OWN:
        build = compose["services"][name]["build"]
        assert (CONTAINER / build["context"]).resolve() == ROOT
        assert (ROOT / build["dockerfile"]).is_file()
        assert build["args"] == {"EXTRAS": "s3 spark"}


def test_nothing_runs_with_more_than_it_needs(compose: dict[str, Any], image: Stage) -> None:
    """No capability, a root that can't be written, a user other than root; every image has a version."""
    user = image.last("USER")
    for name, service in compose["services"].items():
        assert service["image"].rpartition(":")[2] not in {"", "latest"}
        assert "/" not in service["image"].rpartition(":")[2]
        if name != "postgresql":
            assert (service["cap_drop"], service["read_only"]) == (["ALL"], True)
            assert service["security_opt"] == ["no-new-privileges:true"]
        if name not in {*ROOT_ONES, *OWN}:
            assert service["user"].partition(":")[0] != "0"
        if name.startswith("spark"):
            assert service["user"] == user
            assert all(mount.endswith(":ro") for mount in service["volumes"])
    assert {name for name, each in compose["services"].items() if "ports" in each} == {"nginx"}


def test_each_part_waits_for_what_it_needs(compose: dict[str, Any]) -> None:
    """For health where that is looked at; and no two wait for each other."""
    services = compose["services"]
    begun: list[str] = []
    while len(begun) < len(services):
        ready = [name for name in services if name not in begun and {*services[name].get("depends_on", ())} <= {*begun}]
        assert ready
        begun += ready
    for service in services.values():
        for name, wait in service.get("depends_on", {}).items():
            is_checked = "test" in services[name].get("healthcheck", {})
            assert wait["condition"] == ("service_healthy" if is_checked else "service_started")
    assert begun.index("api-1") < begun.index("api-2") < begun.index("nginx")


def test_nginx_takes_the_example_with_both_processes(compose: dict[str, Any], tmp_path: Path) -> None:
    """As the container's command makes it, with the names of compose in a file of hosts."""
    nginx, unshare = find_tool("nginx", "nginx"), find_tool("unshare", "util-linux")
    service = compose["services"]["nginx"]
    places = {target: CONTAINER / source for source, target in mounts(service) if source.startswith(".")}
    (text,) = service["command"]
    script, _, start = text.partition(" && ")
    assert start == "exec nginx -g 'daemon off;'"
    for target, source in places.items():
        script = script.replace(f" {target} ", f" {source} ")
    script = script.replace("/etc/nginx/conf.d/default.conf", str(tmp_path / "reelport.conf"))
    subprocess.run(["/bin/sh", "-c", script], check=True)
    made = (tmp_path / "reelport.conf").read_text()
    assert "server api-1:8642; server api-2:8642;" in made
    make_certificate(tmp_path, "reports.example.com")
    folders = {Path(target).parent for source, target in mounts(service) if source.startswith("$")}
    for folder in folders:
        made = made.replace(str(folder), str(tmp_path))
    (tmp_path / "reelport.conf").write_text(made)
    (tmp_path / "hosts").write_text("127.0.0.1 localhost api-1 api-2\n")
    (tmp_path / "nginx.conf").write_text(
        f"pid {tmp_path}/pid; error_log stderr; events {{}} http {{ include {tmp_path}/reelport.conf; }}"
    )
    check = f"mount --bind {tmp_path}/hosts /etc/hosts && {nginx} -t -e stderr -c {tmp_path}/nginx.conf"
    if subprocess.run([unshare, "--mount", "true"], capture_output=True, check=False).returncode:
        pytest.skip("this machine lets nobody unshare")
    done = subprocess.run([unshare, "--mount", "/bin/sh", "-c", check], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "[warn]" not in done.stderr


def test_the_checks_of_health_are_commands_of_their_images(compose: dict[str, Any]) -> None:
    """BusyBox in those of Alpine, bash in Spark's, PostgreSQL's own; each looks at the port that others use."""
    checks = {name: shlex.split(text) for name, text in read_checks(compose).items()}
    assert checks.keys() == {"postgresql", "objects", "spark-master", "nginx", "api-1", "api-2"}
    assert checks["objects"][-1] == compose["services"]["objects"]["command"][1].strip(":")
    assert checks["nginx"][-1] in [each.partition(":")[2] for each in compose["services"]["nginx"]["ports"]]
    assert checks["spark-master"][-1].endswith(compose["services"]["spark-master"]["command"][-1])
    if busybox := shutil.which("busybox"):
        listed = subprocess.run([busybox, "--list"], capture_output=True, text=True, check=True).stdout.split()
        assert {checks[name][0] for name in ("objects", "nginx")} <= {*listed}


def test_an_api_process_is_well_before_its_workers(compose: dict[str, Any]) -> None:
    """They wait until it is; `/health` of the image's own check would wait for them."""
    small = yaml.safe_load((CONTAINER / "compose.yml").read_text("utf-8"))
    checks = [*read_checks(compose).items(), *read_checks(small).items()]
    asked = {text for name, text in checks if name.startswith("api")}
    assert len(asked) == 1
    assert "/health/ready" in asked.pop()
    assert small["services"]["worker"]["depends_on"]["api"]["condition"] == "service_healthy"


def test_what_another_user_writes_to_is_open_to_all(compose: dict[str, Any]) -> None:
    """By podman a folder in memory has the owner and the mode of the image's folder; `/tmp` is everybody's there."""
    for service in compose["services"].values():
        if service.get("user", "0").partition(":")[0] != "0":
            assert all(folder == "/tmp" or folder.endswith(":mode=1777") for folder in service["tmpfs"])  # noqa: S108


def test_the_page_builds_the_image_that_is_run(compose: dict[str, Any]) -> None:
    """With its extras, and in the form that has checks of health."""
    page = (ROOT / "docs" / "operate" / "several-machines.md").read_text("utf-8")
    command = shlex.split(next(line for line in page.splitlines() if line.startswith("podman build")), comments=True)
    own = compose["services"]["api-1"]
    assert command[command.index("--tag") + 1] == own["image"]
    assert command[command.index("--build-arg") + 1] == f"EXTRAS={own['build']['args']['EXTRAS']}"
    assert command[command.index("--format") + 1] == "docker"


def test_each_image_has_one_that_stands_in_for_it(compose: dict[str, Any]) -> None:
    """So that the whole can be tried where no registry answers."""
    own = {each["image"] for each in compose["services"].values() if "build" in each}
    parts = {name.partition("-")[0] for name, each in compose["services"].items() if each["image"] not in own}
    assert parts == {
        path.parent.name for path in (ROOT / "deploy" / "containers" / "stand_ins").glob("*/Containerfile")
    }
    assert read_base().startswith("docker.io/library/python:")


def read_checks(compose: dict[str, Any]) -> dict[str, str]:
    """The command of each check of health: one text for a shell, as podman-compose breaks the quotes of a list."""
    tests = {name: each.get("healthcheck", {}).get("test") for name, each in compose["services"].items()}
    assert all(test[0] == "CMD-SHELL" and len(test) == 2 for test in tests.values() if test)
    return {name: test[1] for name, test in tests.items() if test}


@pytest.mark.long
@pytest.mark.nightly
@pytest.mark.parametrize("name", ["spark-master", "spark-worker"])
def test_spark_takes_its_words(compose: dict[str, Any], name: str) -> None:
    """Up to the one that asks for help in the place of work; another version's would refuse a word that it lost."""
    if (home := find_spark()) is None:
        pytest.skip("no Spark: make spark, and Java")
    main, *words = compose["services"][name]["command"][1:]
    command = ["java", "-cp", f"{home}/jars/*", main, *words[: len(words) - len(words) % 2], "--help"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr


LOOK = """
from reelport.server.settings import read_settings
print(read_settings().report_store.find("report.csv"))
"""


def test_the_store_is_believed_by_the_certificate_of_the_page(
    compose: dict[str, Any], example: dict[str, str], tmp_path: Path
) -> None:
    """Made by the page's command: it is for the store's name, and the client looks for a file by TLS."""
    openssl = find_tool("openssl", "openssl")
    page = (ROOT / "docs" / "operate" / "several-machines.md").read_text("utf-8")
    command = next(line for line in page.splitlines() if line.startswith("openssl req")).partition(" #")[0]
    subprocess.run([openssl, *shlex.split(command)[1:]], check=True, cwd=tmp_path, capture_output=True)
    given = {name: fill(value, example) for name, value in compose["services"]["api-1"]["environment"].items()}
    given |= {"REELPORT_DATA": str(tmp_path / "data"), "SSL_CERT_FILE": str(tmp_path / "objects.pem")}
    host = urlsplit(given[ENDPOINT]).hostname
    with serving_nothing(tmp_path) as port:
        given[ENDPOINT] = f"https://localhost:{port}"
        look = ["-c", LOOK]
        with forked.Popen(look, env=given, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as client:
            said, errors = client.communicate(timeout=300)
    assert (said, client.returncode) == ("None\n", 0), errors
    names = subprocess.run(
        [openssl, "x509", "-in", "objects.pem", "-noout", "-ext", "subjectAltName"],
        check=True,
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert f"DNS:{host}," in names.stdout


class Nothing(BaseHTTPRequestHandler):
    """A store that has no file."""

    def do_HEAD(self) -> None:
        """Answer that there is none."""
        self.send_response(404)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_GET = do_HEAD  # noqa: N815 - the library's name

    def log_message(self, *_: object) -> None:  # noqa: D102 - says nothing
        return


@contextmanager
def serving_nothing(folder: Path) -> Iterator[int]:
    """The port of such a store, which has the certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "objects.pem", folder / "objects.key")
    with ThreadingHTTPServer(("127.0.0.1", 0), Nothing) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()
