"""The audit log: who did what, when and from which address; rows are only added."""

from __future__ import annotations

import getpass
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum

from sqlalchemy import ColumnElement, Connection, Engine, func, select

from reelport.language import N_, _, ngettext
from reelport.query import ReportQuery, describe_query
from reelport.server.access.callers import clean_text
from reelport.server.state.database import reading
from reelport.server.state.tables import AUDIT_LOG, ORGANIZATIONS
from reelport.wording import format_day

COMMAND_LINE = N_("command line")
"""The address of what an operator did by a command."""
VISITOR = N_("a shared link")
"""Who opened a view by a link: nobody signed in."""
_DETAILS = (
    *(N_("role"), N_("kind"), N_("permissions"), N_("channels"), N_("name"), N_("expires"), N_("days"), N_("hosts")),
    *(N_("opened"), N_("was"), N_("is"), N_("by"), N_("until"), N_("reason"), N_("ended links"), N_("folder")),
    *(N_("may look"), N_("keys"), N_("users"), N_("reports"), N_("grace hours"), N_("id"), N_("pinned")),
)
"""Names of details, marked here to be translated; others are written as they are."""
_WORDED = frozenset({"role", "kind", "by", "may_look"})
"""Details whose values are words, which are marked where they are; those of roles with blanks."""
_SUBJECTS = ("query", "name")
"""Details that say in words what a row is about: its id comes after them."""
_MOST_CHANNELS = 10
"""Channels that a row names; more are counted."""
_LONGEST = 500
"""Characters of a text in the log; the rest is cut."""


class Action(StrEnum):
    """The actions that the log records."""

    SIGNED_IN = N_("signed in")
    SIGN_IN_FAILED = N_("failed to sign in")
    SIGNED_OUT = N_("signed out")
    SIGNED_OUT_EVERYWHERE = N_("signed out everywhere")
    PASSWORD_CHANGED = N_("changed a password")
    PASSWORD_LINK_MADE = N_("made a link to set a password")
    AUTHENTICATOR_ADDED = N_("added an authenticator")
    AUTHENTICATOR_REMOVED = N_("removed an authenticator")
    PASSKEY_ADDED = N_("added a passkey")
    PASSKEY_REMOVED = N_("removed a passkey")
    FACTORS_RESET = N_("reset a second factor")
    RECOVERY_CODES_MADE = N_("made recovery codes")
    USER_ADDED = N_("added a user")
    USER_NOT_ADDED = N_("failed to add a user")
    USER_REMOVED = N_("removed a user")
    ROLE_CHANGED = N_("changed a role")
    CHANNELS_LIMITED = N_("limited a user's channels")
    KEY_CREATED = N_("created a key")
    KEY_RENAMED = N_("renamed a key")
    KEY_ROTATED = N_("began a key's rotation")
    KEY_ROTATION_CANCELLED = N_("cancelled a key's rotation")
    KEY_REVOKED = N_("revoked a key")
    MAX_KEY_AGE_CHANGED = N_("changed the maximum age of keys")
    ORGANIZATION_ADDED = N_("added an organization")
    ORGANIZATION_REMOVED = N_("removed an organization")
    CHANNELS_ADDED = N_("added channels")
    CHANNELS_REMOVED = N_("removed channels")
    REPORT_ASKED = N_("asked for a report")
    REPORT_CANCELLED = N_("cancelled a report")
    REPORT_DELETED = N_("deleted a report")
    REPORT_DOWNLOADED = N_("downloaded a report")
    VIEW_SAVED = N_("saved a view")
    VIEW_DELETED = N_("deleted a view")
    VIEW_PLACED = N_("placed a view")
    VIEW_SHARED = N_("shared a view")
    SHARED_VIEW_OPENED = N_("opened a shared view")
    LOOK_BEGUN = N_("began to look as the operator of the platform")
    LOOK_ENDED = N_("ended a look as the operator of the platform")
    LOOK_RIGHT_CHANGED = N_("changed an operator's right to look")
    PLATFORM_RIGHT_CHANGED = N_("changed an operator's right to the platform's numbers")
    SHARED_VIEW_REVOKED = N_("revoked a shared view")


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts: a user's e-mail address, or a name, and the network address."""

    name: str
    address: str

    @classmethod
    def of_command(cls) -> Actor:
        """Return the user of the system who runs this command."""
        try:
            name = getpass.getuser()
        except (KeyError, OSError):  # a user id without a name
            name = "unknown"
        return cls(name, COMMAND_LINE)


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """A row of the log about `subject`; without an organization it concerns the platform."""

    number: int
    at: datetime
    organization: str | None
    actor: Actor
    action: str
    subject: str
    details: Mapping[str, object] = field(default_factory=dict)


def record_action(
    connection: Connection,
    organization_id: int | None,
    actor: Actor,
    action: Action,
    subject: str,
    now: datetime,
    details: Mapping[str, object] | None = None,
) -> None:
    """Add a row in the transaction of the change that it tells of. Never put a secret in it."""
    named = select(ORGANIZATIONS.c.name).where(ORGANIZATIONS.c.id == organization_id)
    row = {
        "at": now,
        "organization_id": organization_id,
        "organization": None if organization_id is None else connection.execute(named).scalar(),
        "actor": _shorten(actor.name),
        "address": _shorten(actor.address),
        "action": action.value,
        "subject": _shorten(subject),
        "details": json.dumps(dict(details or {}), ensure_ascii=True, default=str),
    }
    connection.execute(AUDIT_LOG.insert().values(**row))


def record_command(
    connection: Connection,
    organization_id: int | None,
    action: Action,
    subject: str,
    details: Mapping[str, object] | None = None,
) -> None:
    """Add a row for what a command does: by the system's user, at this moment."""
    record_action(connection, organization_id, Actor.of_command(), action, subject, datetime.now(UTC), details)


def list_actions(
    db: Engine,
    *,
    organization_id: int | None = None,
    platform_only: bool = False,
    actor: str = "",
    action: str = "",
    subject: str = "",
    since: datetime | None = None,
    before: int | None = None,
    most: int = 100,
) -> tuple[AuditEntry, ...]:
    """List the newest rows, newest first: of one organization, or all.

    `platform_only`: those of no organization. `before` is the number of a row that newer pages ended with.
    """
    log = AUDIT_LOG.c
    conditions = [
        *(_is_of(organization_id) if organization_id is not None else ()),
        *([log.organization_id.is_(None)] if platform_only else ()),
        *([func.lower(log.actor) == clean_text(actor).lower()] if actor else ()),
        *([log.action == clean_text(action)] if action else ()),
        *([log.subject == clean_text(subject)] if subject else ()),
        *([log.at >= since] if since is not None else ()),
        *([log.number < before] if before is not None else ()),
    ]
    wanted = select(AUDIT_LOG).where(*conditions).order_by(log.number.desc()).limit(most)
    with reading(db) as connection:
        return tuple(
            AuditEntry(
                row.number,
                row.at,
                row.organization,
                Actor(row.actor, row.address),
                row.action,
                row.subject,
                json.loads(row.details),
            )
            for row in connection.execute(wanted)
        )


def _is_of(organization_id: int) -> tuple[ColumnElement[bool], ...]:
    """Select an organization's own rows: SQLite gives the id of a removed one to the next."""
    since = select(ORGANIZATIONS.c.created_at).where(ORGANIZATIONS.c.id == organization_id).scalar_subquery()
    return AUDIT_LOG.c.organization_id == organization_id, AUDIT_LOG.c.at >= since


def describe_action(entry: AuditEntry, channels: Mapping[str, str] | None = None) -> str:
    """Say what was done, on what, and how: `changed a role: ann@x.example (was member)`.

    `channels` are the names of channels by their ids.
    """
    known = {name: value for name, value in entry.details.items() if value not in (None, "")}
    said = {name: _describe_detail(entry.action, name, value, channels or {}) for name, value in known.items()}
    subject = "" if entry.subject == entry.actor.name else entry.subject
    if entry.action in (Action.CHANNELS_ADDED, Action.CHANNELS_REMOVED):
        subject = said.pop("channels", subject)
    elif naming := next(filter(said.__contains__, _SUBJECTS), None):
        subject, said = said.pop(naming), {"id": subject, **said}
    done = _("%(action)s: %(subject)s", action=_(entry.action), subject=subject) if subject else _(entry.action)
    days = [ngettext("%(n)s day", "%(n)s days", int(said.pop("days")))] if "days" in said else []
    details = ", ".join([*days, *(f"{_(name.replace('_', ' '))} {text}" for name, text in said.items())])
    return f"{done}{f' ({details})' if details else ''}"


def _describe_detail(action: str, name: str, value: object, channels: Mapping[str, str]) -> str:
    """Say a detail's value. Words that are marked are translated, never a text of a user."""
    match name, value:
        case "query", dict():
            return describe_query(ReportQuery.from_wire(value))
        case "expires", str():
            moment = datetime.fromisoformat(value)
            return f"{format_day(moment)}, {moment:%H:%M} UTC"
        case "channels", "all":
            return _("all")
        case "channels", list() if len(value) > _MOST_CHANNELS:
            return ngettext("%(n)s channel", "%(n)s channels", len(value))
        case _, list():
            return ", ".join(channels.get(each, each) if name == "channels" else str(each) for each in value)
    is_role = name in {"was", "is"} and action in (Action.ROLE_CHANGED, Action.PLATFORM_RIGHT_CHANGED)
    text = ("no", "yes")[value] if isinstance(value, bool) else str(value)
    return _(text.replace("-", " ")) if is_role or name in _WORDED or isinstance(value, bool) else text


def _shorten(text: str) -> str:
    return clean_text(text)[:_LONGEST]
