"""Sample facts: repeatable, and consistent in themselves."""

from collections.abc import Iterator
from contextlib import closing
from datetime import date, timedelta

import duckdb
import pyarrow as pa
import pytest
from tests.cases import thin_out

from reelport.facts.allowed_values import USAGE_KINDS
from reelport.facts.sample.sample import draw_facts, fact_schema, open_world, read_objects, spread_rows
from reelport.facts.tables import TABLES, Kind

pytestmark = pytest.mark.long

START, END = date(2023, 6, 28), date(2023, 7, 4)
ROWS = 60_000
FACTS = tuple(name for name, table in TABLES.items() if table.is_fact)


def drawn(*tables: str, seed: int = 1, threads: int = 2) -> list[pa.Table]:
    """The rows of these tables, drawn by so many threads."""
    with closing(open_world(seed, START, END)) as world:
        world.execute(f"SET threads = {threads}")
        spread = spread_rows(ROWS, START, END, seed)
        return [pa.concat_tables(draw_facts(world, table, spread)) for table in tables]


@pytest.fixture(scope="module")
def facts() -> Iterator[duckdb.DuckDBPyConnection]:
    db = duckdb.connect()
    with closing(open_world(1, START, END)) as world:
        objects = {name: read_objects(world, name) for name, table in TABLES.items() if not table.is_fact}
    for name, rows in (objects | dict(zip(FACTS, drawn(*FACTS), strict=True))).items():
        db.register(f"{name}_rows", _without_zone(rows))
        db.execute(f"CREATE TABLE {name} AS FROM {name}_rows")
    channels = "SELECT organization, id FROM channels WHERE organization IS NOT NULL"
    with closing(open_world(1, START, END)) as world:
        db.register("readers_rows", world.sql(channels).to_arrow_table())
        db.execute("CREATE TABLE readers AS FROM readers_rows")
    yield db
    db.close()


def _without_zone(rows: pa.Table) -> pa.Table:
    # A DuckDB without its time zone library only counts zoned moments; the test wants their hours.
    return rows.cast(
        pa.schema([(f.name, pa.timestamp("us") if pa.types.is_timestamp(f.type) else f.type) for f in rows.schema])
    )


def one(db: duckdb.DuckDBPyConnection, sql: str) -> int:
    found = db.execute(sql).fetchone()
    assert found is not None
    assert isinstance(found[0], int)
    return found[0]


@pytest.mark.parametrize("table", thin_out(FACTS, 4, nightly=True))
def test_the_same_seed_gives_the_same_facts(table: str) -> None:
    """One thread and two draw the same rows; another seed draws others."""
    order = [(name, "ascending") for name in fact_schema(table).names]
    (rows,) = drawn(table, threads=1)
    (same,) = drawn(table, threads=2)
    (other,) = drawn(table, seed=2)
    assert rows.sort_by(order).equals(same.sort_by(order))
    assert not rows.sort_by(order).equals(other.sort_by(order))


def test_portions_do_not_change_the_facts() -> None:
    """Days drawn in portions that end within them have the rows of the days drawn at once."""
    counts = {"plays": {START: 500, START + timedelta(days=1): 300}}
    with closing(open_world(1, START, END)) as world:
        (whole,) = draw_facts(world, "plays", counts)
        portions = [*draw_facts(world, "plays", counts, portion=200)]
    assert [len(portion) for portion in portions] == [200] * 4
    parts = pa.concat_tables(portions)
    order = [(name, "ascending") for name in whole.schema.names]
    assert whole.sort_by(order).equals(parts.sort_by(order))


def test_facts_fill_their_tables(facts: duckdb.DuckDBPyConnection) -> None:
    """All asked rows are there, in the asked days, with required columns filled, closed lists and counts respected."""
    assert sum(one(facts, f"SELECT count(*) FROM {name}") for name in FACTS) == ROWS
    for name in FACTS:
        table = TABLES[name]
        outside = one(
            facts, f"SELECT count(*) FROM {name} WHERE {table.time}::DATE NOT BETWEEN DATE '{START}' AND DATE '{END}'"
        )
        assert outside == 0
        for column in table.columns:
            if column.required:
                assert one(facts, f"SELECT count(*) FROM {name} WHERE {column.name} IS NULL") == 0, column.name
            if column.kind is Kind.COUNT:
                assert one(facts, f"SELECT count(*) FROM {name} WHERE {column.name} < 0") == 0, column.name
            if column.kind is Kind.TEXT:
                assert one(facts, f"SELECT count(*) FROM {name} WHERE {column.name} = ''") == 0, column.name
            if column.choices:
                found = {row[0] for row in facts.execute(f"SELECT DISTINCT {column.name} FROM {name}").fetchall()}
                # A list that is too long to be told, of countries, is drawn from and not run through.
                assert found - {None} <= set(column.choices), column.name
                assert column.called or found - {None} == set(column.choices), column.name


def test_no_column_is_left_out(facts: duckdb.DuckDBPyConnection) -> None:
    """Every column has a value somewhere, and every one that may be empty is empty somewhere."""
    always = {"media_type", "visitor_domain_group", "visitor_subdomain", "player_size", "player_size_bucket"}
    always |= {"inventory_position", "inventory_position_index", "ad_format", "buyer", "buyertype", "ads_txt_status"}
    for name in FACTS:
        for column in TABLES[name].columns:
            assert one(facts, f"SELECT count({column.name}) FROM {name}") > 0, f"{name}.{column.name}"
            empty = one(facts, f"SELECT count(*) FROM {name} WHERE {column.name} IS NULL")
            may_be_full = column.required or column.default is not None or column.name in always
            assert empty > 0 or may_be_full, f"{name}.{column.name}"


def test_ids_lead_to_objects(facts: duckdb.DuckDBPyConnection) -> None:
    """Every video, channel, player and playlist that a fact names exists, and the video's owner is the fact's owner."""
    links = {"owner_channel_id": "channels", "publisher_channel_id": "channels", "claimer_channel_id": "channels"}
    links |= {"video_id": "videos", "player_id": "players", "playlist_id": "playlists"}
    for name in FACTS:
        for column, objects in links.items():
            if column in {held.name for held in TABLES[name].columns}:
                lost = f"SELECT count(*) FROM {name} ANTI JOIN {objects} ON {objects}.id = {name}.{column}"
                assert one(facts, f"{lost} WHERE {column} IS NOT NULL") == 0, f"{name}.{column}"
        wrong = f"SELECT count(*) FROM {name} f JOIN videos v ON v.id = f.video_id"
        assert one(facts, f"{wrong} WHERE v.owner_channel_id <> f.owner_channel_id") == 0


def test_both_organizations_have_every_role(facts: duckdb.DuckDBPyConnection) -> None:
    """`demo` and `rival` own, embed and claim; each embeds and claims what the other owns."""
    for reader, other in (("demo", "rival"), ("rival", "demo")):
        mine, theirs = (f"(SELECT id FROM readers WHERE organization = '{name}')" for name in (reader, other))
        for table in ("plays", "ads", "earnings"):
            for role in ("owner", "publisher", "claimer"):
                assert one(facts, f"SELECT count(*) FROM {table} WHERE {role}_channel_id IN {mine}") > 0
            for role in ("publisher", "claimer"):
                of_theirs = f"owner_channel_id IN {theirs} AND {role}_channel_id IN {mine}"
                assert one(facts, f"SELECT count(*) FROM {table} WHERE {of_theirs}") > 0, (table, role)


def test_plays_add_up(facts: duckdb.DuckDBPyConnection) -> None:
    """Watchable time is views times the length, empty for live and where no length is known; only live has viewers."""
    joined = "FROM plays p JOIN videos v ON v.id = p.video_id"
    exact = "p.watchable_seconds IS DISTINCT FROM p.views * v.duration_seconds"
    assert one(facts, f"SELECT count(*) {joined} WHERE p.media_type = 'video' AND {exact}") == 0
    assert one(facts, f"SELECT count(*) {joined} WHERE media_type = 'video' AND v.duration_seconds IS NULL") > 0
    assert one(facts, "SELECT count(watchable_seconds) FROM plays WHERE media_type = 'live'") == 0
    assert one(facts, "SELECT count(viewer) FROM plays WHERE media_type = 'video'") == 0
    assert one(facts, "SELECT count(*) FROM plays WHERE views = 0") > 0
    assert one(facts, "SELECT count(*) FROM plays WHERE time_watched_seconds > watchable_seconds AND views > 0") == 0


def test_viewers_come_back(facts: duckdb.DuckDBPyConnection) -> None:
    """Live viewers return in other hours and watch other streams: distinct counts by hour don't add up."""
    whole = one(facts, "SELECT count(DISTINCT viewer) FROM plays")
    by_hour = "SELECT count(DISTINCT viewer) AS viewers FROM plays GROUP BY started_at"
    assert whole < one(facts, f"SELECT sum(viewers)::BIGINT FROM ({by_hour})")


def test_ads_add_up(facts: duckdb.DuckDBPyConnection) -> None:
    """Consent and traffic parts make up the inventory; what was watched or viewable was displayed; fates exclude."""
    total = "sellable_inventory + no_ads"
    consent = " + ".join(f"gdpr_{part}_consent_inventory" for part in ("empty", "error", "full", "other", "refuse"))
    laws = (
        f"{total} > 0",
        f"{consent} = {total}",
        f"gdpr_full_consent_inventory + inventory_gdpr_missing_full_consent = {total}",
        f"invalid_traffic_inventory + valid_traffic_inventory = {total}",
        "nb_impression <= sellable_inventory",
        "impressions <= nb_impression",
        "nb_p1_impression <= nb_impression",
        "ad_view_completed + ad_view_not_completed = nb_impression",
        "high_viewable_impressions + low_viewable_impressions <= nb_impression",
        "no_fills + ad_errors + timeouts + nb_impression <= sellable_inventory",
        f"no_ads_txt_inventory <= {total} AND no_brandsafe_inventory <= {total} AND no_monetized_inventory <= {total}",
        "(ad_errors > 0) = (ad_error_code IS NOT NULL) AND (ad_error_code IS NULL) = (ad_error_readable IS NULL)",
        "(no_ads > 0) = (noad_reason_readable IS NOT NULL)",
        "(no_ads > 0) = (inventory_position_index IS NULL)",
        "(nb_impression > 0) = (buyer IS NOT NULL)",
        "(no_fills > 0) = (outcome IS NOT DISTINCT FROM 'no fills')",
    )
    for law in laws:
        assert one(facts, f"SELECT count(*) FROM ads WHERE NOT ({law})") == 0, law


def test_money_is_exact_and_sometimes_corrected(facts: duckdb.DuckDBPyConnection) -> None:
    """Euros and dollars keep the day's rate, a few rows are below zero, and the legacy count lies near the new one."""
    assert (
        0
        < one(facts, "SELECT count(*) FROM earnings WHERE eur < 0")
        < one(facts, "SELECT count(*) FROM earnings") // 50
    )
    assert one(facts, "SELECT count(*) FROM earnings WHERE sign(eur) <> sign(usd) OR abs(usd) < abs(eur)") == 0
    assert one(facts, "SELECT count(*) FROM earnings WHERE abs(eur_old) > abs(eur) + 0.000001") == 0


def test_each_kind_of_usage_has_its_own_counts(facts: duckdb.DuckDBPyConnection) -> None:
    """A row fills the counts named after its kind and no others."""
    named = {"bandwidth": "bandwidth_", "transcoding": "transcoding_", "storage": "storage_", "ai": "ai_credits"}
    for kind in USAGE_KINDS:
        for column in (held.name for held in TABLES["usage"].columns if held.kind is Kind.COUNT):
            filled = one(facts, f"SELECT count({column}) FROM usage WHERE kind = '{kind}'")
            assert (filled > 0) == column.startswith(named[kind]), (kind, column)


def test_storage_is_a_stock_that_grows(facts: duckdb.DuckDBPyConnection) -> None:
    """Every day has storage, what was kept stays, and the lifetime count is never below the stock."""
    stocks = facts.execute(
        "SELECT day, sum(storage_bytes), sum(storage_lifetime_bytes) FROM usage WHERE kind = 'storage' GROUP BY day"
        " ORDER BY day"
    ).fetchall()
    assert len(stocks) == (END - START).days + 1
    assert [stock[1] for stock in stocks] == sorted(stock[1] for stock in stocks)
    assert all(lifetime >= stock for _, stock, lifetime in stocks)
    shrunk = "SELECT owner_channel_id, day, sum(storage_bytes) AS kept FROM usage WHERE kind = 'storage' GROUP BY ALL"
    previous = "lag(kept) OVER (PARTITION BY owner_channel_id ORDER BY day)"
    assert one(facts, f"SELECT count(*) FROM (SELECT kept < {previous} AS less FROM ({shrunk})) WHERE less") == 0


def test_nothing_is_watched_before_it_exists(facts: duckdb.DuckDBPyConnection) -> None:
    """No play begins in an hour before its video was uploaded, nor after it was deleted."""
    joined = "SELECT count(*) FROM plays p JOIN videos v ON v.id = p.video_id"
    assert one(facts, f"{joined} WHERE p.started_at < v.created_at") == 0
    assert one(facts, f"{joined} WHERE p.started_at >= v.deleted_at") == 0
    assert one(facts, f"{joined} WHERE v.deleted_at IS NOT NULL") > 0


def test_views_are_skewed(facts: duckdb.DuckDBPyConnection) -> None:
    """The most watched tenth of videos has most views, evenings are busier than nights, and one country leads."""
    ranked = "SELECT video_id, sum(views) AS seen FROM plays GROUP BY 1 ORDER BY seen DESC"
    known = one(facts, "SELECT count(DISTINCT video_id) FROM plays")
    top = one(facts, f"SELECT sum(seen)::BIGINT FROM ({ranked} LIMIT {known // 10})")
    assert top * 2 > one(facts, "SELECT sum(views)::BIGINT FROM plays")
    hours = "SELECT count(*) FROM plays WHERE hour(started_at)"
    assert one(facts, f"{hours} BETWEEN 18 AND 21") > 5 * one(facts, f"{hours} BETWEEN 1 AND 4")
    assert one(facts, "SELECT count(DISTINCT visitor_country) FROM plays") > 20


def test_a_second_range_is_drawn_like_the_first() -> None:
    """A day has the same facts whichever range it was asked in, when it is given the same number of rows."""
    day = START + timedelta(days=2)
    found = []
    for start in (START, day):
        with closing(open_world(1, start, END)) as world:
            (rows,) = draw_facts(world, "ads", {"ads": {day: 300}})
        found.append(rows.sort_by([(name, "ascending") for name in rows.schema.names]))
    assert found[0].equals(found[1])
