"""`audit`: the audit log, of every organization and of the platform, for operators."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime, time
from typing import Annotated

from cyclopts import Parameter

from reelport.cli.arguments.options import parse_day_word
from reelport.cli.arguments.print_json import PrintJson
from reelport.cli.output.listing import print_list
from reelport.cli.service_commands.access import Data, open_state
from reelport.errors import UsageError

_MOST = 10_000


def audit(
    *,
    org: Annotated[str | None, Parameter(help="Only what concerns this organization.")] = None,
    person: Annotated[str, Parameter(help="Only of this person, by e-mail address or system user.")] = "",
    action: Annotated[str, Parameter(help="Only what was done, as the list calls it: 'created a key'.")] = "",
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

    moment = _check(since, action, limit)
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


def _check(since: str | None, action: str, limit: int) -> datetime | None:
    """Return the moment that `--since` names; UsageError lists every problem of the options."""
    from reelport.server.access.audit_log import Action
    from reelport.server.access.organizations import suggest

    wrong: list[str] = []
    day = None if since is None else parse_day_word("--since", since, datetime.now(UTC).date(), wrong)
    if action and action not in set(Action):
        wrong.append(f"--action: nothing is called {action!r}.{suggest(action, [each.value for each in Action])}")
    if not 1 <= limit <= _MOST:
        wrong.append(f"--limit takes a whole number of rows from 1 to {_MOST:,}, and not {limit}.")
    if wrong:
        raise UsageError("\n".join(wrong))
    return None if day is None else datetime.combine(day, time(), UTC)
