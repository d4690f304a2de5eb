"""What a new key is to be, and every reason why it can't be."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

from reelport.server.access import key_expiry
from reelport.server.access.access_tokens import REPORT_SCOPES
from reelport.server.access.audit_log import COMMAND_LINE, Actor
from reelport.server.access.key_expiry import KeyKind
from reelport.server.access.organizations import Organization, suggest
from reelport.wording import NAME_RULE, is_name

_KINDS = (KeyKind.PRIVATE, KeyKind.PUBLIC)
"""The kinds of keys that can be made."""
_LONGEST_NAME = 200


@dataclass(frozen=True, slots=True)
class KeyDetails:
    """What a key is called, when it expires (days or a date, as typed), and who makes it.

    `id` is the id that the key is to have, so that what makes it can be done once alone; None draws one.
    """

    name: str = ""
    expires: str | None = None
    actor: Actor | None = None
    id: str | None = None

    @property
    def created_by(self) -> str | None:
        """Who made the key, as lists show it: an e-mail address, or that it was a command."""
        if self.actor is None:
            return None
        return COMMAND_LINE if self.actor.address == COMMAND_LINE else self.actor.name


def find_problems(
    holder: Organization | None,
    permissions: Collection[str],
    channels: Collection[str] | None,
    kind: str,
    details: KeyDetails,
    now: datetime,
) -> list[str]:
    """List a sentence for each reason why such a key can't be made.

    Unknown channels are not looked for. An organization that isn't known (None) limits no expiry.
    """
    wrong = [*_find_permission_problems(permissions), *find_name_problems(details.name)]
    if kind not in _KINDS:
        wrong.append(f"There is no kind of key {kind!r}: it is {' or '.join(_KINDS)}.")
    if channels is not None and not channels:
        wrong.append("A key that is limited to no channel could read nothing.")
    return wrong + _find_expiry_problems(holder, details.expires, now)


def _find_permission_problems(permissions: Collection[str]) -> list[str]:
    if not permissions:
        return [f"A key needs permissions: {', '.join(REPORT_SCOPES)}."]
    unknown = [name for name in permissions if name not in REPORT_SCOPES]
    return [f"There is no permission {name!r}.{suggest(name, REPORT_SCOPES)}" for name in unknown]


def find_name_problems(name: str) -> list[str]:
    """List a sentence where a text can't be the name of a key."""
    if is_name(name, _LONGEST_NAME):
        return []
    return [f"A key's name is one line of at most {_LONGEST_NAME} characters: {NAME_RULE}."]


def _find_expiry_problems(holder: Organization | None, expires: str | None, now: datetime) -> list[str]:
    if not expires:
        return []
    try:
        found = key_expiry.parse_expiry(expires, now)
    except ValueError as error:
        return [str(error)]
    if holder is None or holder.max_key_days is None:
        return []
    latest = now + timedelta(days=holder.max_key_days)
    if found <= latest:
        return []
    life = f"Keys of {holder.name} live {holder.max_key_days} days at most"
    return [f"{life}: this one can't expire after {latest:%Y-%m-%d}, and was to on {found:%Y-%m-%d}."]
