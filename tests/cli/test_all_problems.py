"""What is wrong with a command: the first mistake in its words, or every wrong value, file and setting at once."""

from __future__ import annotations

import json
import re
import sys
from functools import partial
from pathlib import Path

import pytest

from reelport import UsageError, killpoints
from reelport.cli.arguments.environment_variables import find_unknown_variables
from reelport.cli.main import main
from reelport.client.settings.profiles import CLIENT_VARIABLES, resolve, resolve_without_files
from reelport.server import settings

SOURCES = Path(settings.__file__).parents[1]
NO_KEY = (
    "No API key for https://partner.api.dailymotion.com: set REELPORT_API_KEY and REELPORT_API_SECRET, or keep a key "
)
KNOWN = "name a file .csv, .json, .ndjson, .jsonl, .parquet, .pq, .xlsx."
ASK = "--metrics VIEWS --start 2d --end 1d"
NEEDS_METRICS = (
    "`reelport report run` needs a value for --metrics: What to count: VIEWS,TIME_WATCHED_SECONDS, or repeat the "
    "option."
)
NEEDS_OUTPUT = (
    "`reelport report run` needs a value for --output: The file to write; without it the data goes to stdout."
)
NO_XLS = f"--output: no report is written as .xls: {KNOWN}"
NO_WINDOW = "--window-days takes a whole number of days from 1 to 3,652,059, and not -1."
NO_NAME = (
    'profile is no name: write profile = "NAME", above the first [table], or [profiles.NAME] for a profile itself.'
)
DAY = "give YYYY-MM-DD, today, yesterday, or 30d for 30 days ago."


@pytest.fixture(autouse=True)
def _without_pydantic(monkeypatch: pytest.MonkeyPatch) -> None:
    """A command begins without Pydantic, which changes how cyclopts checks; another test may have loaded it here."""
    monkeypatch.delitem(sys.modules, "pydantic", raising=False)


def told(capsys: pytest.CaptureFixture[str], line: str) -> list[str]:
    """What a command line that is refused says on stderr, without the key that the machine lacks."""
    with pytest.raises(SystemExit) as caught:
        main(line.split())
    out, err = capsys.readouterr()
    assert (caught.value.code, out) == (2, "")
    lines = [said.removeprefix("reelport: ") for said in err.splitlines()]
    return [said for said in lines if not said.startswith(NO_KEY)]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("reprot run", "there is no command 'reprot': did you mean report?"),
        ("report rum", 'Unknown command "rum". Did you mean "run"? Available commands: run, submit, wait, download.'),
        (
            "report run",
            f"{NEEDS_METRICS} {{help}}",
        ),
        (
            "report run --metric VIEWS --start 2d --end 1d",
            f"{NEEDS_METRICS} Did you mean --metrics instead of --metric? {{help}}",
        ),
        (
            f"report run {ASK} --output -",
            f"{NEEDS_OUTPUT} {{help}}",
        ),
        ("report download", "`reelport report download` needs TOKEN: What `report submit` printed. {help}"),
        ("org add", "`reelport org add` needs NAME: The organization's name. {help}"),
        (
            f"report run {ASK} --format exel",
            'Invalid value "exel" for --format. Choose from: "table", "csv", "json", "ndjson", "parquet", "xlsx".',
        ),
        ("completion bish", 'Invalid value "bish" for SHELL. Choose from: "bash", "zsh", "fish". Did you mean "fish"?'),
        (f"report run {ASK} --deadline x", "--deadline takes a number, and not 'x'."),
        ("sample --start x --end y", "--start takes a day as YYYY-MM-DD, and not 'x'."),
        ("sample --start 2026-01-01 --end 2026-01-02 --rows z", "--rows takes a whole number, and not 'z'."),
        (f"report run {ASK} --start 3d", "Parameter --start specified multiple times."),
        (
            f"report run {ASK} --dimensions DAY, PLAYER",
            "'PLAYER' is one word too many: what holds blanks needs quotes, and a list has commas alone.",
        ),
        (f"report run {ASK} --outptu a.csv", "There is no option --outptu: did you mean --output?"),
        (f"report run {ASK} -z", "There is no option -z: see `reelport report run --help`."),
        (f"report run {ASK} --zzz=1", "There is no option --zzz: see `reelport report run --help`."),
        ("serve --prot 80", "There is no option --prot: did you mean --port?"),
        ("worker --port 1", "There is no option --port: see `reelport worker --help`."),
        ("sync init --zzz", "There is no option --zzz: see `reelport sync init --help`."),
    ],
)
def test_a_line_that_cant_be_parsed_tells_its_first_mistake(
    capsys: pytest.CaptureFixture[str], line: str, said: str
) -> None:
    """One sentence in plain words, with what was probably meant or the help that tells it."""
    command = " ".join(line.split()[:2])
    assert told(capsys, line) == [said.replace("{help}", f"See `reelport {command} --help`.")]


@pytest.mark.parametrize(
    ("line", "lines"),
    [
        (
            "report run --metrics VEIWS --start soon --end 1d --product AL",
            [
                f"--start: 'soon' is no day: {DAY}",
                "--metrics: No metric 'VEIWS' is known here. Did you mean VIEWS?",
                "--product: No product 'AL' is known here. Did you mean ALL?",
            ],
        ),
        (
            "report run --metrics VIEWS --start soon --end 1d -o a.xls --url nowhere",
            [
                f"--start: 'soon' is no day: {DAY}",
                NO_XLS,
                "'nowhere' is no address of a service (REELPORT_URL): did you mean https://nowhere?",
            ],
        ),
        (
            (
                "report run --metrics VIEWS --dimensions DAY --start 7d --end 1d --product AL "
                "-o foo.xslx --chart foo.pdf --window-days -1 --max-windows 0 --deadline 0"
            ),
            [
                "--chart: 'foo.pdf' is neither a .png nor a .svg file.",
                f"--output: no report is written as .xslx: {KNOWN.removesuffix('.')}, or say which --format it has.",
                NO_WINDOW,
                "--max-windows takes a whole number of reports from 1 to 3,652,059, and not 0.",
                "A deadline is a number of seconds above 0, and not '0.0'.",
                "--product: No product 'AL' is known here. Did you mean ALL?",
            ],
        ),
        (
            "report run --metrics VIEWS --start soon --end 1d --chart foo.pdf --window-days -1",
            [
                f"--start: 'soon' is no day: {DAY}",
                NO_WINDOW,
                "--chart: 'foo.pdf' is neither a .png nor a .svg file.",
            ],
        ),
        ("load plays -", ["'-' would be standard input, which isn't read here: write it to a file, and name that."]),
        (f"report run {ASK} --output=-", ["'-' is no file: without -o the data goes to stdout."]),
        ("report submit --metrics VIEWS --start 2d --end 1d --window-days -1", [NO_WINDOW]),
        (
            "report run --metrics VIEWS --start 2d --end 1d -o foo.xls --format csv",
            ["--output: foo.xls would hold a CSV: name it .csv, which spreadsheets open."],
        ),
        (
            "report run --metrics VIEWS --start 2d --end 1d -o foo.csv --format parquet",
            ["--output: foo.csv would hold Parquet: name it .parquet, or leave out --format parquet."],
        ),
        (
            "report run --metrics VIEWS --start 2d --end 1d -o foo.json --format table",
            ["--output: foo.json would hold a table: name it .txt, or leave out --format table."],
        ),
        (
            "report run --metrics VIEWS --start 2d --end 1d -o foo.json --format csv",
            ["--output: foo.json would hold a CSV: name it .csv, or leave out --format csv."],
        ),
        (
            "serve --port 80a --workers x",
            [
                "REELPORT_PORT (--port): It is a whole number from 0 to 65535, and not '80a'.",
                "REELPORT_WORKERS (--workers): It is a whole number from 0 to 64, and not 'x'.",
            ],
        ),
        (
            "auth login --kind public --url ftp://x",
            [
                "Which key? Give --key and --username.",
                "'ftp://x' is no address of a service (REELPORT_URL): give one like https://partner.api.dailymotion.com.",
            ],
        ),
        (
            "report run --metrics , --dimensions DAY,DAY --start x --end 1d",
            [
                f"--start: 'x' is no day: {DAY}",
                "--metrics: Ask for at least one metric.",
                "--dimensions: DAY is named twice: once is enough.",
            ],
        ),
    ],
)
def test_all_wrong_values_are_told_together(capsys: pytest.CaptureFixture[str], line: str, lines: list[str]) -> None:
    """Of a line that can be parsed: its query, its files, its settings; each problem is one line."""
    assert told(capsys, line) == lines


def test_a_check_of_a_wrong_setting_finds_nothing_well(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The setting alone is told: no address was called, so none is said to be right."""
    for name, value in {"URL": "http://127.0.0.1:9", "API_KEY": "k", "API_SECRET": "s", "SLOTS": "x"}.items():
        monkeypatch.setenv(f"REELPORT_{name}", value)
    (line,) = told(capsys, "check")
    assert line == "REELPORT_SLOTS must be a whole number of at least 1, 9 digits at most, and not 'x'."


def test_a_chart_never_stands_among_lines_of_json(capsys: pytest.CaptureFixture[str]) -> None:
    """In a pipe both would go to stderr: that is refused, as one line of JSON that says where else a chart can go."""
    (line,) = told(capsys, "report run --metrics VIEWS --dimensions DAY --start 2d --end 1d --chart --json")
    result = json.loads(line)
    assert (result["event"], result["code"]) == ("result", "usage")
    assert "name a picture (--chart FILE.png), or put the data into a file (-o FILE)." in result["error"]


def test_a_mistyped_file_and_a_wrong_day_are_told_together(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """What is wrong with the reports, their names included, beside the words of the command."""
    file = tmp_path / "reelport.toml"
    file.write_text(
        '[reports.views]\nmetrcis = ["VEIWS"]\ndimensions = ["DAY"]\nstart = 2026-01-01\ndestination = "d"\n'
    )
    assert told(capsys, f"sync run --from soon --file {file}") == [
        f"{file}: reports.views: there is no 'metrcis' here: did you mean metrics?",
        f"{file}: reports.views: metrics.0: No metric 'VEIWS' is known here. Did you mean VIEWS?",
        f"--from: 'soon' is no day: {DAY}",
    ]


def test_all_wrong_settings_are_told_together(tmp_path: Path) -> None:
    """Of the environment, in the library too; beside those of a file, each with the place that it stands in."""
    outside = {"REELPORT_URL": "nowhere", "REELPORT_SLOTS": "x", "REELPORT_WINDOW_DAYS": "0", "REELPORT_INSECURE": "2"}
    home = {"REELPORT_HOME": str(tmp_path)}
    for read in (resolve_without_files, partial(resolve, folder=tmp_path)):
        with pytest.raises(UsageError) as caught:
            read(outside | home)
        assert sorted(line.split()[0] for line in str(caught.value).splitlines()) == [
            "'nowhere'", "REELPORT_INSECURE", "REELPORT_SLOTS", "REELPORT_WINDOW_DAYS",
        ]  # fmt: skip
    (tmp_path / "reelport.toml").write_text("[profiles.team]\nslot = 3\n")
    (tmp_path / "config.toml").write_text('[profile.other]\nkinf = "private"\n')
    with pytest.raises(UsageError) as caught:
        resolve({"REELPORT_HOME": str(tmp_path), "REELPORT_INSECURE": "2"}, folder=tmp_path)
    assert [line.removeprefix(f"{tmp_path}/") for line in str(caught.value).splitlines()] == [
        "reelport.toml: profiles.team: there is no setting 'slot'. Did you mean slots?",
        f"config.toml: {NO_NAME}",
        "config.toml: profiles.other: there is no setting 'kinf'. Did you mean kind?",
        "REELPORT_INSECURE must be 1 or 0, and not '2'.",
    ]


def test_a_home_of_nobody_is_a_sentence(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """In a spec, as the file of specs and as the data directory: no traceback of a user who isn't there."""
    file = tmp_path / "reelport.toml"
    file.write_text(
        '[reports.v]\nmetrics = ["VIEWS"]\ndimensions = ["DAY"]\nstart = 2026-01-01\ndestination = "~nobody1/d"\n'
    )
    nobody = "can't be found: no user 'nobody1' has a home folder."
    assert told(capsys, f"sync run --file {file}") == [f"{file}: reports.v: destination: '~nobody1/d' {nobody}"]
    assert told(capsys, "sync status --file ~nobody1/x.toml") == [f"'~nobody1/x.toml' {nobody}"]
    assert told(capsys, "serve --data ~nobody1/data") == [
        "REELPORT_DATA (--data): It is a path, and '~nobody1/data' begins with the home of a user who has none."
    ]


def test_a_variable_that_no_setting_has_is_told_with_the_nearest() -> None:
    """By what is behind the prefix; those of Kubernetes are near to none, and those of rehearsals are known."""
    ours = {
        "REELPORT_PROT": "1",
        "REELPORT_API_SECRTE": "s",
        "REELPORT_SERVICE_HOST": "10.0.0.1",
        "REELPORT_KILLS": "3",
    }
    assert [str(each) for each in find_unknown_variables(ours | {"REELPORT_URL": "x", "PATH": "/"})] == [
        "REELPORT_API_SECRTE is no setting: did you mean REELPORT_API_SECRET?",
        "REELPORT_PROT is no setting: did you mean REELPORT_PORT?",
        "REELPORT_SERVICE_HOST is no setting: it changes nothing.",
    ]


def test_every_variable_that_is_read_is_known() -> None:
    """Each that stands in the sources or tests, each setting of a service, each of a client."""
    texts = [path.read_text() for root in (SOURCES, Path(__file__).parents[1]) for path in root.rglob("*.py")]
    read = {name for text in texts for name in re.findall(r"environ(?:\.get)?[\[(]\"(REELPORT_[A-Z_]+)\"", text)}
    read |= {name for text in texts for name in re.findall(r"env_var=\"(REELPORT_[A-Z_]+)\"", text)}
    named = {settings.variable_name(name) for name in settings.setting_names()}
    assert read >= {"REELPORT_KILLS", "REELPORT_TRENDING"}
    assert not find_unknown_variables(dict.fromkeys(read | named | CLIENT_VARIABLES | killpoints.TEST_VARIABLES, "1"))
