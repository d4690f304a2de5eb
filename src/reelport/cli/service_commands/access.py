"""`org`, `channel` and `audit`: organizations, their channels, and who did what."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime, time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

from reelport.cli.arguments.options import is_confirmed, parse_data_directory, parse_day_word, split_words
from reelport.cli.output.listing import PrintJson, print_fields, print_list
from reelport.errors import UsageError
from reelport.facts.layout import check_existing
from reelport.server.settings import Settings, read_settings
from reelport.storage.durable import private, set_readers
from reelport.wording import format_count

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from reelport.server.access.channel_registry import Entry, LineProblem
    from reelport.server.reports.removal import Withdrawal

ORG = App(name="org")
CHANNEL = App(name="channel")

Org = Annotated[str, Parameter(help="The organization.")]
OrgName = Annotated[str, Parameter(help="The organization's name.")]
Data = Annotated[
    Path | None,
    Parameter(converter=parse_data_directory, help="The data directory; else REELPORT_DATA, else ./reelport-data."),
]
Yes = Annotated[bool, Parameter(help="Do not ask for confirmation.")]


def use_settings(**given: object) -> Settings:
    """Read the settings of a command, whose files are for the readers that they name."""
    settings = read_settings(**given)
    set_readers(settings.readers)
    return settings


@contextmanager
def open_state(data: Path | None, *, make: bool = False, only_read: bool = False) -> Iterator[tuple[Settings, Engine]]:
    """Open settings and state of a data directory that exists, unless `make`.

    With `only_read` an empty state stands for one that isn't there yet.
    """
    from reelport.server.state.database import connected

    settings = use_settings(data=data)
    if not make:
        check_existing(settings.data)
    with private(), connected(settings, make=not only_read) as db:
        yield settings, db


@ORG.command(name="add")
def add_organization(name: OrgName, *, json: PrintJson = False, data: Data = None) -> None:
    """Add an organization.

    Example: reelport org add acme
    """
    from reelport.server.access import organizations

    with open_state(data, make=True) as (_, db):
        added = organizations.add_organization(db, name, datetime.now(UTC))
    print_fields({"organization": added.name}, as_json=json)


@ORG.command(name="list")
def list_organizations(*, json: PrintJson = False, data: Data = None) -> None:
    """List the organizations with how many channels they may read.

    Example: reelport org list
    """
    from reelport.server.access import organizations

    with open_state(data, only_read=True) as (_, db):
        rows = [
            {
                "organization": each.name,
                "channels": len(organizations.list_readable_channels(db, each.id)),
                "max_key_days": each.max_key_days,
            }
            for each in organizations.list_organizations(db)
        ]
    print_list(rows, as_json=json, none="There is no organization yet: `reelport org add NAME` makes one.")


@ORG.command(name="remove")
def remove_organization(name: OrgName, *, yes: Yes = False, json: PrintJson = False, data: Data = None) -> None:
    """Delete an organization with its keys, tokens and reports. Shows them and asks first.

    Example: reelport org remove rival --yes
    """
    from reelport.server.reports import removal

    with open_state(data) as (settings, db):
        if not yes:
            print(_describe_removal(name, removal.preview_removal(db, name)), file=sys.stderr)
            if not is_confirmed(f"Remove {name}?"):
                return
        ended = removal.remove_organization(db, settings, name)
    print_fields({"organization": name, **_counts(ended)}, as_json=json)


def _describe_removal(name: str, ended: Withdrawal) -> str:
    reports = ended.waiting + ended.running + ended.finished
    return (
        f"Removing {name} ends its access to {format_count(ended.channels, 'channel')}, "
        f"{format_count(len(ended.keys), 'key with its tokens', 'keys with their tokens')}, "
        f"{format_count(ended.users, 'user')}, and "
        f"{format_count(reports, 'report with its files', 'reports with their files')} "
        f"({ended.waiting:,} waiting, {ended.running:,} running, {ended.finished:,} finished)."
    )


def _counts(ended: Withdrawal) -> dict[str, object]:
    return {
        "channels": ended.channels,
        "keys": ended.keys,
        "narrowed_keys": ended.narrowed,
        "users": ended.users,
        "waiting_reports": ended.waiting,
        "running_reports": ended.running,
        "finished_reports": ended.finished,
        "shared_views": ended.links,
    }


@ORG.command(name="max-key-age")
def limit_key_age(
    name: OrgName,
    days: Annotated[str, Parameter(help="Longest life of its keys in days, or none.")],
    *,
    yes: Yes = False,
    json: PrintJson = False,
    data: Data = None,
) -> None:
    """Limit the age of an organization's keys. Shows which keys expire now, and asks first.

    The age counts from the day when a key's secret was made. A rotation starts it again.

    Example: reelport org max-key-age acme 90

    Example: reelport org max-key-age acme none
    """
    from reelport.server.access import keys, organizations
    from reelport.server.access.audit_log import Actor
    from reelport.server.access.key_expiry import parse_max_days
    from reelport.server.state.database import writing

    limit = parse_max_days(days)
    with open_state(data) as (_, db):
        ended = keys.find_too_old_keys(keys.list_keys(db, name), limit, datetime.now(UTC))
        if ended and not yes:
            print(f"{format_count(len(ended), 'key')} would expire at once: {', '.join(ended)}.", file=sys.stderr)
            if not is_confirmed(f"Limit the keys of {name} to {format_count(limit or 0, 'day')}?"):
                return
        with writing(db) as connection:
            holder = organizations.find_organization(connection, name)
            organizations.limit_key_life(connection, holder, limit, Actor.of_command(), datetime.now(UTC))
    print_fields({"organization": name, "max_key_days": limit, "expired_keys": ended}, as_json=json)


@CHANNEL.command(name="add")
def add_channel(
    *,
    org: Org,
    id: Annotated[str | None, Parameter(help="Its id, as in the facts; it never changes.")] = None,  # noqa: A002 - the option's name
    slug: Annotated[str | None, Parameter(help="Its slug, as in addresses.")] = None,
    name: Annotated[str | None, Parameter(help="Its name.")] = None,
    account: Annotated[str | None, Parameter(help="The id of its account.")] = None,
    from_: Annotated[
        Path | None,
        Parameter(
            name="--from",
            allow_leading_hyphen=True,
            help="Read channels from a CSV file with the columns id, slug, name and account; - is stdin.",
        ),
    ] = None,
    json: PrintJson = False,
    data: Data = None,
) -> None:
    """Add or change a channel, and let an organization read it. Other values stay.

    A rename counts for every organization that reads the channel, and is said with what it was called. Of a file's
    channels all are entered or none: everything that is wrong with it is said at once.

    Example: reelport channel add --org acme --id c-17 --slug acme-sports

    Example: reelport channel add --org acme --from channels.csv
    """
    from reelport.server.access import channel_registry

    entries, wrong = _read_entries(from_, id, slug, name, account)
    with open_state(data) as (settings, db):
        renames = channel_registry.add_channels(db, settings, org, entries, wrong)
    if from_ is None:
        was: dict[str, object] = {"was": renames[0].was if renames else None} if json or renames else {}
        print_fields({"organization": org, "id": id, "slug": slug, **was}, as_json=json)
        return
    renamed = [asdict(one) if json else f"{one.slug} (was {one.was})" for one in renames]
    told: dict[str, object] = {"renamed": renamed} if json or renames else {}
    print_fields({"organization": org, "channels": len(entries), **told}, as_json=json)
    if not entries:
        named = "standard input" if from_ == Path("-") else from_
        print(f"There is no channel below the header of {named}: nothing was changed.", file=sys.stderr)


def _read_entries(
    source: Path | None, id_: str | None, slug: str | None, name: str | None, account: str | None
) -> tuple[Sequence[Entry], Sequence[LineProblem]]:
    from reelport.server.access.channel_registry import Channel, Entry, read_channels

    if source is not None:
        if any(word is not None for word in (id_, slug, name, account)):
            raise UsageError("--from FILE names the channels: leave out --id, --slug, --name and --account.")
        return read_channels(source)
    if id_ is None or slug is None:
        raise UsageError("A channel is named by --id and --slug; many are by --from FILE.")
    return (Entry(Channel(id_, slug, name, account)),), ()


@CHANNEL.command(name="remove")
def remove_channels(
    *,
    org: Org,
    id: Annotated[list[str], Parameter(help="Ids, separated by commas.")],  # noqa: A002 - the option's name
    json: PrintJson = False,
    data: Data = None,
) -> None:
    """Withdraw channels from an organization. Deletes reports that cover them, with files.

    Keys and links to shared views that are left without a channel are revoked. Facts stay.

    Example: reelport channel remove --org acme --id c-17
    """
    from reelport.server.access import organizations
    from reelport.server.reports import removal

    with open_state(data) as (settings, db):
        known = organizations.list_readable_channels(db, organizations.get_organization(db, org).id)
        # Ids with a comma date from before commas were refused, and must stay removable.
        ids = [word for each in id for word in ([each] if each in known else split_words([each]))]
        ended = removal.remove_channels(db, settings, org, ids, datetime.now(UTC))
    print_fields({"organization": org, **_counts(ended)}, as_json=json)


@CHANNEL.command(name="list")
def list_channels(*, org: Org, json: PrintJson = False, data: Data = None) -> None:
    """List the channels that an organization may read.

    Example: reelport channel list --org acme
    """
    from reelport.server.access import channel_registry, organizations

    with open_state(data, only_read=True) as (settings, db):
        readable = organizations.list_readable_channels(db, organizations.get_organization(db, org).id)
        known = {each.id: each for each in channel_registry.list_channels(settings)}
    found = ((id_, known.get(id_)) for id_ in sorted(readable))
    rows = [{"slug": one and one.slug, "id": id_, "name": one and one.name} for id_, one in found]
    none = f"{org} may read no channel yet: `reelport channel add --org {org}` enters one."
    print_list(rows, as_json=json, none=none)


_MOST = 10_000


def audit(
    *,
    org: Annotated[str | None, Parameter(help="Only rows of this organization.")] = None,
    person: Annotated[str, Parameter(help="Only rows of this person: e-mail address or system user.")] = "",
    action: Annotated[str, Parameter(help="Only this action, as the list names it: 'created a key'.")] = "",
    since: Annotated[
        str | None, Parameter(help="From this day on (UTC): YYYY-MM-DD, today, yesterday, or 30d.")
    ] = None,
    limit: Annotated[int, Parameter(help=f"So many rows at most, the newest; up to {_MOST:,}.")] = 100,
    json: PrintJson = False,
    data: Data = None,
) -> None:
    """Show who did what, when (UTC) and from where, the newest first.

    Example: reelport audit --org acme --since 30d
    """
    from reelport.server.access import audit_log, organizations
    from reelport.server.access.users import normalize_email

    moment = _parse_since(since, action, limit)
    with open_state(data, only_read=True) as (_, db):
        found = audit_log.list_actions(
            db,
            organization_id=None if org is None else organizations.get_organization(db, org).id,
            actor=normalize_email(person),
            action=action,
            since=moment,
            most=limit,
        )
    if json:
        rows = [{**asdict(each), "actor": each.actor.name, "address": each.actor.address} for each in found]
    else:
        rows = [
            {
                "at": each.at,
                "organization": each.organization,
                "who": each.actor.name,
                "what": audit_log.describe_action(each),
                "from": each.actor.address,
            }
            for each in found
        ]
    print_list(rows, as_json=json, none="The audit log has no such row.")


def _parse_since(since: str | None, action: str, limit: int) -> datetime | None:
    from reelport.server.access.audit_log import Action
    from reelport.similar_names import suggest

    wrong: list[str] = []
    day = None if since is None else parse_day_word("--since", since, datetime.now(UTC).date(), wrong)
    if action and action not in set(Action):
        wrong.append(f"--action: nothing is called {action!r}.{suggest(action, [each.value for each in Action])}")
    if not 1 <= limit <= _MOST:
        wrong.append(f"--limit takes a whole number of rows from 1 to {_MOST:,}, and not {limit}.")
    if wrong:
        raise UsageError("\n".join(wrong))
    return None if day is None else datetime.combine(day, time(), UTC)
