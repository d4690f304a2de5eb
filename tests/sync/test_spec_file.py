"""The file `reelport.toml`: what it gives, and that every problem of it is said at once."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from reelport.errors import UsageError
from reelport.sync import spec_file
from reelport.sync.spec import Contract, Kind

GOOD = """
profile = "production"

[profiles.production]
url = "https://reports.example.com"

[defaults]
destination = "data/partner.duckdb"
start = 2026-01-01
lookback = 10

[reports.views]
metrics = ["views", "TIME_WATCHED_SECONDS"]
dimensions = ["DAY", "VIDEO_ID"]
filters = { mediaType = "VIDEO" }

[reports.earned]
metrics = ["ESTIMATED_EARNINGS_EUR"]
dimensions = ["MONTH"]
product = "all"
destination = "parquet"
contract = "freeze"
settle = 2
window = 62
start = "2025-12-01"
"""


def written(folder: Path, text: str) -> Path:
    file = folder / "reelport.toml"
    file.write_text(text, "utf-8")
    return file


def test_a_sheet_gives_its_reports_with_the_defaults(tmp_path: Path) -> None:
    """Each report has its own settings, else the file's, else ours; paths start at the file's folder."""
    views, earned = spec_file.read(written(tmp_path, GOOD))
    assert (views.name, views.metrics) == ("views", ("VIEWS", "TIME_WATCHED_SECONDS"))
    assert (views.start, views.lookback, views.settle, views.window) == (date(2026, 1, 1), 10, 1, 180)
    assert (views.filters, views.product, views.contract) == ((("mediaType", "VIDEO"),), "CONTENT", Contract.EVOLVE)
    assert (views.place.kind, views.place.path) == (Kind.DUCKDB, tmp_path / "data/partner.duckdb")
    assert (earned.place.kind, earned.place.path) == (Kind.PARQUET, tmp_path / "parquet")
    assert (earned.product, earned.contract, earned.settle, earned.monthly) == ("ALL", Contract.FREEZE, 2, True)
    assert [spec.name for spec in spec_file.read(tmp_path / "reelport.toml", only=["earned"])] == ["earned"]


def test_every_problem_is_said_at_once(tmp_path: Path) -> None:
    """One look at the error is enough to mend the file."""
    bad = """
        [default]
        x = 1
        [defaults]
        lookback = -1
        metrics = []
        [reports.Views]
        metric = ["VIEWS"]
        metrics = "VIEWS"
        dimensions = ["DAY"]
        start = "soon"
        destination = "data.csv"
        contract = "evolv"
        filters = { mediaType = 1 }
        [reports.totals]
        metrics = ["VIEWS"]
        dimensions = ["VIDEO_ID"]
        start = 2026-01-01
        destination = "d"
        window = true
        [reports.wrong]
        metrics = ["VIEWS", "VIEWS"]
        dimensions = ["DAYS"]
        start = 2999-01-01
        destination = "d"
        [reports.nothing]
    """
    with pytest.raises(UsageError) as refused:
        spec_file.read(written(tmp_path, bad))
    said = str(refused.value)
    for part in (
        "no 'default' here: did you mean defaults?",
        "defaults: there is no 'metrics' here",
        "reports.Views: a name is a lower-case letter",
        "reports.Views: there is no 'metric' here: did you mean metrics?",
        "reports.Views: metrics must be a list of names",
        "start: 'soon' is no day",
        "'data.csv' is neither a .duckdb file nor a folder",
        "contract: 'evolv' is none of evolve, freeze, discard_value, discard_row",
        "filters must be a table of names and texts",
        "defaults: lookback: '-1' is no number of days",
        "window: 'True' is no number of days",
        "reports.totals: nothing tells its days apart",
        "reports.wrong: metrics.1: VIEWS is named twice",
        "reports.wrong: dimensions.0: No dimension 'DAYS' is known here. Did you mean DAY?",
        "reports.wrong: start: 2999-01-01 lies in the future",
        "reports.nothing: metrics is missing",
        "reports.nothing: destination is missing",
    ):
        assert part in said, part
    assert all(line.startswith(str(tmp_path)) for line in said.splitlines())
    assert said.count("lookback: '-1'") == 1


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"dimensions": '["VIDEO_ID"]'}, "nothing tells its days apart, so no day of it could be replaced: add DAY"),
        ({"dimensions": '["MONTH"]', "start": "2026-01-02"}, "let it start on a first, 2026-01-01, or add DAY"),
        ({"dimensions": '["MONTH"]', "window": "30"}, "a window of 30 days is too short"),
        ({"start": "2999-01-01"}, "lies in the future"),
        ({"metrics": '["VIEWS", "VIEWS"]'}, "VIEWS is named twice"),
        ({"metrics": "[]"}, "Ask for at least one metric"),
        ({"metrics": '["UPLOADS"]', "dimensions": '["DAY", "VISITOR_COUNTRY"]'}, "UPLOADS can't be split"),
    ],
)
def test_a_report_that_could_not_be_kept_is_refused_with_advice(
    tmp_path: Path, change: dict[str, str], said: str
) -> None:
    """What is well-formed and can't be kept up to date is refused when the file is read, not after a wait."""
    good = {"metrics": '["VIEWS"]', "dimensions": '["DAY"]', "start": "2026-01-01", "destination": '"d"'}
    rows = "\n".join(f"{key} = {value}" for key, value in (good | change).items())
    with pytest.raises(UsageError, match=said.replace("(", r"\(")):
        spec_file.read(written(tmp_path, f"[reports.x]\n{rows}\n"))


@pytest.mark.parametrize("text", ["", "reports = 1", "[defaults]\n", "a = [", "\xff"])
def test_what_is_no_sheet_is_refused(tmp_path: Path, text: str) -> None:
    """An empty file, one without reports, one that isn't TOML or not even text."""
    file = tmp_path / "reelport.toml"
    file.write_bytes(text.encode("latin-1"))
    with pytest.raises(UsageError):
        spec_file.read(file)


def test_names_that_are_not_there_are_refused(tmp_path: Path) -> None:
    """A report that the file doesn't name, and a file that doesn't exist."""
    with pytest.raises(UsageError, match="did you mean views"):
        spec_file.read(written(tmp_path, GOOD), only=["view"])
    with pytest.raises(UsageError, match="sync init"):
        spec_file.read(tmp_path / "none.toml")
