"""The explorer's page: whole without a script, its state in its address, its numbers those of the sample facts."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from html import unescape
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from starlette.testclient import TestClient
from tests.cases import thin_out
from tests.server.studio.conftest import MEMBER, RIVAL, visit_as
from tests.server.studio.visitor import Visitor, add_user, links, text_of

from reelport.catalog import Family, Metric
from reelport.catalog.labels import capitalize, label_metric
from reelport.facts.log.freshness import last_complete_day
from reelport.facts.log.snapshot import pin
from reelport.server.access import organizations
from reelport.server.app import create_app
from reelport.server.explore.view_days import Preset
from reelport.server.http.service import Service
from reelport.server.settings import Settings, read_settings
from reelport.wording import format_day

DAYS = "from=2026-07-01&to=2026-07-14"


def test_the_explorer_has_days_in_its_address(visitor: Visitor) -> None:
    """The last 28 complete days, written out: the link shows the same to a colleague, whenever it is opened."""
    page = visitor.get("/studio/explore")
    assert urlsplit(str(page.url)).path == "/studio/explore"
    assert "from=2026-07-04&to=2026-07-31" in str(page.url)
    shown = "Views and watch time by day, video, channel and country, 4 to 31 July 2026"
    assert shown in text_of(page.text)
    assert "videoOwnerChannelSlug=demo-news" in links(page.text, "demo-news")[0]


def test_what_is_shown_is_saved_and_shared_from_there(visitor: Visitor) -> None:
    """The page's own forms carry its whole address; nothing has to be made a report first."""
    page = visitor.get(f"/studio/explore?metric=VIEWS&by=VISITOR_COUNTRY&compare=previous&{DAYS}")
    saved = visitor.send(page, "/studio/saved", name="By country")
    (link,) = links(saved.text, "By country")
    assert parse_qs(urlsplit(link).query) == parse_qs(urlsplit(str(page.url)).query)
    shared = visitor.send(page, "/studio/shared", name="For the board", days="7")
    assert "Views by day and country, 1 to 14 July 2026" in text_of(shared.text)


def test_a_preset_is_resolved_when_its_link_is_followed(visitor: Visitor) -> None:
    """It leads to an address with days, which end at the last complete one."""
    page = visitor.get(f"/studio/explore?{DAYS}")
    (link,) = links(page.text, "7 days")
    assert "range=last-7-days" in link
    followed = str(visitor.get(link).url)
    assert "from=2026-07-25&to=2026-07-31" in followed
    assert "range=last-7-days" in followed
    shown = visitor.get(followed).text
    assert re.findall(r'title="([^"]*)" aria-current="true">([^<]*)<', shown) == [
        ("25 to 31 July 2026: complete days of all that is shown", "7 days")
    ]


def test_every_page_offers_the_same_ranges(visitor: Visitor) -> None:
    """A new report those that it can be of; there the chosen columns stay, and a view moves on once it is saved."""
    labels = [each.short_label for each in Preset]
    report = "/studio/reports/new?metric=VIEWS&by=VISITOR_COUNTRY&column=VISITOR_COUNTRY&column=VIEWS"
    for path in ("/studio/overview", "/studio/explore", "/studio/channels/demo-news", report):
        shown = re.findall(r'id="range-\d+"[^>]*>([^<]*)<', visitor.get(path).text)
        assert shown == [each for each in labels if (path, each) != (report, "365 days")]
    (link,) = links(visitor.get(report).text, "Last month")
    page = visitor.get(link).text
    assert "Views by country, 1 to 31 July 2026" in text_of(page)
    assert re.findall(r'aria-current="true">([^<]*)</a></li>', page) == ["Last month"]
    assert '<option value="last-month" selected>' in page


def test_a_page_shows_totals_lines_and_leaderboards_of_the_users_organization(
    visitor: Visitor, app: TestClient
) -> None:
    """With a table of the lines, and a report one click away. Another organization sees its own numbers."""
    page = visitor.get(f"/studio/explore?metric=VIEWS&by=VIDEO_OWNER_CHANNEL_SLUG&{DAYS}").text
    said = text_of(page)
    assert links(page, "Demo News")[0].startswith("/studio/channels/demo-news?")
    assert "Views by day and channel, 1 to 14 July 2026" in said
    assert page.count("<svg") > 3
    assert "14 Jul 2026" in said
    assert "demo-news" in said
    assert "rival" not in said.replace("rival-", "")
    assert [link.split("?")[0] for link in links(page, "As a report")] == ["/studio/reports/new"]
    for rival in visit_as(app, RIVAL):
        said = text_of(rival.get(f"/studio/explore?metric=VIEWS&by=VIDEO_OWNER_CHANNEL_SLUG&{DAYS}").text)
        assert "rival-news" in said
        assert "demo-news" not in said


def test_a_click_on_a_value_filters_and_a_filter_is_removed_by_a_click(visitor: Visitor) -> None:
    """Both are links, and nothing else of the view changes."""
    before = visitor.get(f"/studio/explore?metric=VIEWS&by=VIDEO_OWNER_CHANNEL_SLUG&{DAYS}&compare=previous")
    narrowed = visitor.get(links(before.text, "demo-news")[0])
    assert "videoOwnerChannelSlug=demo-news" in str(narrowed.url)
    assert "with channel demo-news" in text_of(narrowed.text)
    assert not links(narrowed.text, "demo-news")
    (remove,) = links(narrowed.text, "\N{MULTIPLICATION SIGN}")
    assert str(visitor.get(remove).url) == str(before.url)


def test_a_click_on_a_value_without_a_filter_narrows_the_view_and_its_report_says_so(visitor: Visitor) -> None:
    """A report can't be narrowed by country: its rows of that country are the view's, and each page says which."""
    before = visitor.get(f"/studio/explore?metric=VIEWS&by=VISITOR_COUNTRY&by=VISITOR_DEVICE_TYPE&{DAYS}")
    narrowed = visitor.get(links(before.text, "France")[0])
    assert "only=VISITOR_COUNTRY%3AFR" in str(narrowed.url)
    assert ", of country France alone" in text_of(narrowed.text)
    assert 'name="only" value="VISITOR_COUNTRY:FR"' in narrowed.text
    report = visitor.get(links(narrowed.text, "As a report")[0])
    assert "its rows with FR in the column visitor_country." in text_of(report.text)
    assert "Views by day, country and device" in text_of(report.text)
    (remove,) = links(narrowed.text, "\N{MULTIPLICATION SIGN}")
    assert str(visitor.get(remove).url) == str(before.url)


def test_a_heading_sorts_and_sorts_the_other_way_at_the_second_click(visitor: Visitor) -> None:
    """The order is told to a screen reader."""
    page = visitor.get(f"/studio/explore?metric=VIEWS&metric=TIME_WATCHED_SECONDS&by=VISITOR_COUNTRY&{DAYS}")
    assert 'aria-sort="descending"' in page.text
    by_time = visitor.get(links(page.text, "Watch time (")[0])
    assert "rank=TIME_WATCHED_SECONDS" in str(by_time.url)
    reversed_page = visitor.get(links(by_time.text, "Watch time (")[0])
    assert "reverse=yes" in str(reversed_page.url)
    assert 'aria-sort="ascending"' in reversed_page.text


@pytest.mark.parametrize("day", ["2026-07-13", "2026-07-14", "2026-07-15", "2026-07-16"])
def test_a_day_is_shown_beside_the_same_weekday_before_with_its_causes_first(visitor: Visitor, day: str) -> None:
    """Where the whole fell, what fell most is first; where it rose, what rose most."""
    page = visitor.get(f"/studio/explore?metric=VIEWS&by=VISITOR_COUNTRY&grain=month&range=lifetime&day={day}")
    asked = parse_qs(urlsplit(str(page.url)).query)
    assert (asked["from"], asked["to"], asked["compare"]) == ([day], [day], ["weekdays"])
    change = re.findall(r"<small>([+\N{MINUS SIGN}])[\d.,]+%", page.text)[0]
    assert ("reverse" in asked) is (change == "\N{MINUS SIGN}")
    cell = r'<td(?: title="before: (\d+)")?>([^<]*)</td>'
    rows = re.findall(f"</th>{cell * 3}", page.text)
    differences = [int(now.replace(",", "")) - int(before or 0) for _, now, _, _, before, _ in rows]
    assert differences == sorted(differences, reverse="reverse" not in asked)
    assert min(differences) < 0 or max(differences) > 0
    assert '<div class="lines"' not in page.text  # a day alone has no course: what changed stands below the totals


def test_what_the_form_sends_reorders_nothing(visitor: Visitor) -> None:
    """Whatever is changed in it: columns, leaderboards and what they are sorted by stay as they are."""
    view = "metric=TIME_WATCHED_SECONDS&metric=VIEWS&by=VISITOR_COUNTRY&by=VIDEO_OWNER_CHANNEL_SLUG&by=VIDEO_ID"
    page = visitor.get(f"/studio/explore?{view}&{DAYS}").text
    sent = "&".join(
        f"{name}={value}" for name, value in re.findall(r'type="checkbox" name="(\w+)" value="(\w+)" checked', page)
    )
    assert sent != view
    assert '<input type="hidden" name="rank" value="TIME_WATCHED_SECONDS">' in page
    again = visitor.get(f"/studio/explore?{sent}&rank=TIME_WATCHED_SECONDS&{DAYS}&compare=previous").text
    for shown in (r'id="table-(\w+)"', r'aria-sort="\w+"><a data-swap id="([\w-]+)"', r'<data value="(\w+)"'):
        assert re.findall(shown, again) == re.findall(shown, page)


def test_a_leaderboard_says_how_much_it_leaves_out_and_shows_more(visitor: Visitor) -> None:
    """Ten of all values first; the longer one is a link."""
    page = visitor.get(f"/studio/explore?metric=VIEWS&by=VISITOR_COUNTRY&{DAYS}")
    assert re.search(r"10 of \d+ values; the others come to \d+\.", text_of(page.text))
    longer = visitor.get(links(page.text, "Show more")[0])
    assert re.search(r" \d+ values in all\.", text_of(longer.text))
    assert str(visitor.get(links(longer.text, "Show fewer")[0]).url) == str(page.url)


def test_all_that_is_wrong_in_an_address_is_told_on_a_page_that_works(visitor: Visitor) -> None:
    """Never an error page; what the address said is escaped."""
    page = visitor.get("/studio/explore?metric=VIEWZ&from=soon&to=2026-07-14&<script>=1&product=X")
    assert page.status_code == 200
    said = text_of(page.text)
    for sentence in ("Did you mean VIEWS?", "'soon' is no day", "which is unknown", "There is no product 'X'"):
        assert sentence in said
    assert "<script>=" not in page.text


def test_a_view_may_have_more_days_than_a_report(visitor: Visitor) -> None:
    """It shows them all; the page of its report says how many a report may have, and sends none."""
    asked = "/studio/explore?metric=VIEWS&by=VISITOR_COUNTRY&from=2025-10-01&to=2026-07-31&compare=year"
    page = visitor.get(asked)
    assert "Views by month and country, 1 October 2025 to 31 July 2026" in text_of(page.text)
    assert "Compared with 1 October 2024 to 31 July 2025" in text_of(page.text)
    (report,) = links(page.text, "As a report")
    assert "304 days are more than 180: end on 2026-03-29 at the latest" in text_of(visitor.get(report).text)


@pytest.mark.parametrize("text", ["Demo News", "DEMO-NEWS", "demo_new"])
def test_a_filter_that_matches_nothing_suggests_what_was_meant(visitor: Visitor, text: str) -> None:
    """A channel's name for its slug, other letters: with a link to the view that was meant, which has numbers."""
    page = visitor.get(f"/studio/explore?{DAYS}&videoOwnerChannelSlug={text}").text
    assert re.search(rf"No channel of these days is “ {text} ”. Did you mean\s+demo-news", text_of(page))
    (link,) = links(page, "demo-news")
    meant = visitor.get(link).text
    assert "Did you mean" not in meant
    assert '<dl class="totals">' in meant


def test_a_filter_that_is_like_nothing_is_told_what_there_is(visitor: Visitor) -> None:
    """The largest values."""
    page = text_of(visitor.get(f"/studio/explore?{DAYS}&videoOwnerChannelSlug=zzzzzzzz").text)
    assert re.search(r"is “ zzzzzzzz ”. There are, among others,\s+demo-[a-z]+", page)


def test_hostile_names_are_text(visitor: Visitor) -> None:
    """The sample's titles hold script and right-to-left marks: they are escaped, and isolated from what is beside."""
    page = visitor.get("/studio/explore?metric=VIEWS&by=VIDEO_ID&longer=VIDEO_ID&from=2026-06-01&to=2026-07-31").text
    assert "<script>alert" not in page
    titles = re.findall(r'href="/studio/videos/[^"]*"><bdi>([^<]*)</bdi>', page)
    assert len(titles) > 50
    assert any("&lt;" in title for title in titles)


def test_a_hostile_slug_is_text(visitor: Visitor) -> None:
    """The sample has a channel whose slug is markup: as a value, in the link that filters by it, and as a filter."""
    page = visitor.get(
        "/studio/explore?metric=VIEWS&by=VIDEO_OWNER_CHANNEL_SLUG&longer=VIDEO_OWNER_CHANNEL_SLUG&product=ALL"
    )
    assert "garage-&#34;extra&#34;&lt;script&gt;alert(1)&lt;/script&gt;" in page.text
    narrowed = visitor.get(links(page.text, "<script>")[0])
    assert "videoOwnerChannelSlug" in str(narrowed.url)
    for text in (page.text, narrowed.text):
        assert "<script>alert" not in text


def test_a_filter_may_hold_anything(visitor: Visitor) -> None:
    """A text with quotes, markup and marks of another script narrows to nothing, and is shown as it is."""
    text = "\"><b>\u202e' OR 1=1 --"
    page = visitor.client.get("/studio/explore", params={"metric": "VIEWS", "by": "none", "channelSlug": text})
    assert page.status_code == 200
    assert "&#34;&gt;&lt;b&gt;\u202e&#39; OR 1=1 --" in page.text
    assert "<b>" not in page.text
    assert "Views \N{EN DASH}" in text_of(page.text)


def test_filters_that_nothing_passes_are_named_as_the_reason(visitor: Visitor) -> None:
    """The slug of before a renaming, say: the days do have numbers."""
    asked = f"/studio/explore?metric=VIEWS&by=VISITOR_COUNTRY&{DAYS}&videoOwnerChannelSlug=old-name"
    said = text_of(visitor.get(asked).text)
    assert "No numbers of these days pass the filters." in said
    assert "There are no numbers" not in said


def test_days_after_the_last_complete_one_may_still_move(visitor: Visitor) -> None:
    """They are hatched in the picture, and marked in the table; the page says up to which day facts are complete."""
    page = visitor.get("/studio/explore?metric=VIEWS&by=none&from=2026-07-25&to=2026-08-03").text
    assert "chart-hatch" in page
    assert text_of(page).count("may still move") == 3 + 1
    assert "Plays are complete to 31 July 2026 (loaded " in text_of(page)


def test_uploads_after_the_newest_videos_day_may_still_move(visitor: Visitor, sampled: Settings) -> None:
    """They end on the day that reports of them end on, and the days of a range by name end there too."""
    complete = last_complete_day(pin(sampled.facts_root, ["videos"]), ["videos"], datetime.now(UTC).date())
    assert complete is not None
    days = f"from={complete}&to={complete + timedelta(days=2)}"
    said = text_of(visitor.get(f"/studio/explore?metric=UPLOADS&by=none&{days}").text)
    assert said.count("may still move") == 2 + 1
    assert f"Videos are complete to {format_day(complete)} (loaded " in said
    assert f"to={complete}" in str(visitor.get("/studio/explore?metric=UPLOADS&by=none&range=last-7-days").url)


def test_compared_days_are_named_and_changes_have_no_infinite_percentages(visitor: Visitor) -> None:
    """What is new says so."""
    said = text_of(visitor.get(f"/studio/explore?metric=VIEWS&by=VIDEO_ID&{DAYS}&compare=weekdays&sort=change").text)
    assert "Compared with 17 to 30 June 2026." in said
    assert "Same weekdays before" in said
    assert "new" in said
    assert "inf" not in said.lower().replace("information", "")


def test_a_view_over_the_budget_offers_the_report(sampled: Settings, app: TestClient) -> None:
    """It says what it would have read, and shows no part of it as the whole."""
    assert app.get("/studio").status_code == 200
    small = create_app(read_settings(data=sampled.data, workers=0, explore_rows=5))
    with TestClient(small) as client:
        visitor = Visitor(client)
        visitor.sign_in(MEMBER)
        page = visitor.get(f"/studio/explore?metric=VIEWS&by=VIDEO_ID&{DAYS}").text
        visitor.client.close()
    assert "Part of this view costs more than a page may. It would read up to" in text_of(page)
    assert [link.split("?")[0] for link in links(page, "Ask for it as a report")] == ["/studio/reports/new"]
    assert "<svg" not in page


def test_the_first_page_is_small(visitor: Visitor) -> None:
    """Under 100 KB with its pictures and all that a browser fetches with it, as it comes over the line."""
    page = visitor.get("/studio/explore")
    assets = [visitor.get(unescape(each)) for each in re.findall(r'"(/studio/static/[^"]*)"', page.text)]
    assert len(assets) >= 4
    assert len(page.content) + sum(int(each.headers["content-length"]) for each in assets) < 100_000


def test_a_full_page_is_small(visitor: Visitor) -> None:
    """The explorer's first page is below 80 KB; two compared metrics with two leaderboards 90."""
    assert len(visitor.get("/studio/explore").content) < 80_000
    view = "metric=VIEWS&metric=TIME_WATCHED_SECONDS&by=VIDEO_ID&by=VISITOR_COUNTRY&compare=previous"
    assert len(visitor.get(f"/studio/explore?{view}&from=2026-07-03&to=2026-07-30").content) < 90_000


@pytest.mark.parametrize("family", thin_out(Family, 7, nightly=True))
def test_each_family_of_metrics_can_be_explored(visitor: Visitor, family: Family) -> None:
    """Alone, compared, with all that the page then offers."""
    metric = next(metric for metric in Metric if metric.family is family)
    page = visitor.get(f"/studio/explore?metric={metric.name}&{DAYS}&compare=previous")
    assert page.status_code == 200
    assert 'role="alert"' not in page.text
    assert "may read no channel yet" not in page.text
    assert capitalize(label_metric(metric)) in text_of(page.text)


def test_a_service_without_facts_has_a_page_that_says_so(tmp_path: Path) -> None:
    """Nothing is drawn, and nothing is a number. It says, too, that the organization has no channel yet."""
    app = create_app(read_settings(data=tmp_path / "data", workers=0))
    with TestClient(app) as client:
        service: Service = app.state.service
        organizations.add_organization(service.db, "demo", datetime.now(UTC))
        add_user(service, MEMBER, "analyst")
        for visitor in visit_as(client, MEMBER):
            page = visitor.get("/studio/explore")
    assert page.status_code == 200
    said = text_of(page.text)
    assert "Plays: nothing was loaded yet." in said
    assert "There are no numbers in these days." in said
    assert "demo may read no channel yet" in said
    assert "nan" not in said.lower().split()


def test_compared_days_before_the_first_load_have_no_data(visitor: Visitor) -> None:
    """They are no zeros: the line begins where data does, and no change is told against a part of the days."""
    page = visitor.get("/studio/explore?metric=VIEWS&by=VISITOR_COUNTRY&from=2026-06-08&to=2026-06-21&compare=previous")
    said = text_of(page.text)
    assert "Of 25 to 31 May 2026 there is no complete data, so no change is told." in said
    assert not re.search("[+\N{MINUS SIGN}][0-9. ]+ %", said)
    assert re.search("8 Jun 2026 [0-9 ]+ \N{EN DASH} ", said)
    whole = text_of(visitor.get(str(page.url).replace("06-08", "06-22").replace("06-21", "06-28")).text)
    assert "no complete data" not in whole


def test_a_metric_has_one_unit_on_the_whole_page(visitor: Visitor) -> None:
    """Its chart, tables and total tell it alike; the unit is in each heading, and the report's number at each cell."""
    page = visitor.get(f"/studio/explore?metric=TIME_WATCHED_SECONDS&by=VISITOR_COUNTRY&{DAYS}").text
    (unit,) = set(re.findall(r"Watch time \((\w+)\)", page))
    total = re.search(rf'<span title="(\d+)">([\d.,]+)</span> <small>{unit}</small>', page)
    assert total
    divisor = {"hours": 3600, "minutes": 60}[unit]
    assert float(total[2].replace(",", "")) == pytest.approx(int(total[1]) / divisor, abs=0.05)
    assert f">{unit}</text>" in page


def test_shares_over_time_add_up_to_the_lines(visitor: Visitor) -> None:
    """The largest values and all others together, at each day; what doesn't add up offers no shares."""
    view = "metric=VIEWS&by=VISITOR_DEVICE_TYPE&by=VISITOR_COUNTRY&from=2026-07-01&to=2026-07-14"
    page = visitor.get(f"/studio/explore?{view}").text
    address = unescape(re.findall(r'id="shares-VISITOR_COUNTRY" href="([^"]*)"', page)[0])
    shown = visitor.get(address).text
    lines, shares = (json.loads(unescape(each))["lines"] for each in re.findall(r"data-readings='([^']*)'", shown))
    assert [line["name"] for line in shares][-1] == "All others"
    assert len(shares) == 6
    columns = zip(*(line["values"] for line in shares), strict=True)
    assert [sum(values) for values in columns] == lines[0]["values"]
    assert "Hide shares over time" in shown
    rate = visitor.get(f"/studio/explore?{view.replace('VIEWS', 'AVERAGE_WATCH_TIME_SEC')}").text
    assert "shares-VISITOR_COUNTRY" not in rate


def test_shares_of_videos_of_one_title_are_told_apart(visitor: Visitor) -> None:
    """By their ids; a title that no other has stands alone."""
    view = f"/studio/explore?metric=VIEWS&by=VIDEO_ID&shares=VIDEO_ID&{DAYS}"
    rows = re.findall(r'<bdi>([^<]*)</bdi></a> <data value="(\w+)">', visitor.get(f"{view}&longer=VIDEO_ID").text)
    videos: dict[str, list[str]] = {}
    for title, video in rows:
        videos.setdefault(unescape(title), []).append(video)
    title, ids = next(each for each in videos.items() if len(each[1]) > 1)
    (other, (alone,)) = next(each for each in videos.items() if len(each[1]) == 1)
    kept = "".join(f"&only=VIDEO_ID:{video}" for video in (*ids, alone))
    (readings,) = re.findall(r"data-readings='([^']*)'", visitor.get(view + kept).text)[1:]
    names = {line["name"] for line in json.loads(unescape(readings))["lines"]}
    assert names == {other, *(f"{title} ({video})" for video in ids)}
