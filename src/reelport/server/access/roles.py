"""The roles of people, and what a person reaches: scopes of the role, all channels or some."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum
from typing import Self

from reelport.catalog import Scope
from reelport.catalog.families import Family
from reelport.language import N_, _


class Role(StrEnum):
    """What a user may see and do in Studio. An operator is of no organization."""

    OWNER = "owner"
    ANALYST = "analyst"
    VIEWER = "viewer"
    VIEWER_WITHOUT_REVENUE = "viewer-without-revenue"
    OPERATOR = "operator"

    @property
    def label(self) -> str:
        """The role in words."""
        return _(_LABELS[self])


_LABELS = {
    Role.OWNER: N_("owner"),
    Role.ANALYST: N_("analyst"),
    Role.VIEWER: N_("viewer"),
    Role.VIEWER_WITHOUT_REVENUE: N_("viewer without revenue"),
    Role.OPERATOR: N_("operator"),
}


OF_ORGANIZATION = tuple(role for role in Role if role is not Role.OPERATOR)
"""The roles of people of an organization, the one that may do most first."""
_EVERY = frozenset(scope.value for scope in Scope)
_VIEWING = _EVERY - {Scope.CREATE_REPORTS, Scope.DELETE_REPORTS, Scope.MANAGE_REPORTS}
SCOPES: dict[Role, frozenset[str]] = {
    Role.OWNER: _EVERY,
    Role.ANALYST: _EVERY,
    Role.VIEWER: _VIEWING,
    Role.VIEWER_WITHOUT_REVENUE: _VIEWING - {Scope.ACCESS_REVENUE},
    Role.OPERATOR: frozenset(),
}
"""The scopes of each role. A person never has more, whatever key or page is used."""
_OF_METRICS = frozenset[str]().union(*(family.scopes for family in Family))


def demands_factor(of_whom: str, role: Role, *, is_by_provider: bool) -> bool:
    """Whether the setting `second_factor` demands one of a person of this role.

    A provider's own second factor is trusted unless it is demanded of everyone.
    """
    roles = {"operators": {Role.OPERATOR}, "owners": {Role.OPERATOR, Role.OWNER}, "passwords": set(Role)}
    return of_whom == "everyone" or (not is_by_provider and role in roles.get(of_whom, ()))


@dataclass(frozen=True, slots=True)
class Reach:
    """What a person may see of an organization: with `channels` None all, later ones too.

    Whatever reads numbers or reports for a person takes one: no page can leave a limit out.
    """

    organization_id: int
    scopes: frozenset[str] = _EVERY
    channels: frozenset[str] | None = None

    @classmethod
    def of(cls, organization_id: int, role: Role, channels: str | None) -> Self:
        """Return the reach of a user's row, whose channels are a list in JSON."""
        return cls(organization_id, SCOPES[role], parse_channels(channels))

    @property
    def is_whole(self) -> bool:
        """Whether every channel and every metric of the organization is within it."""
        return self.channels is None and self.scopes >= _OF_METRICS

    def limit(self, channels: frozenset[str]) -> frozenset[str]:
        """Return those of the organization's channels that are within it."""
        return channels if self.channels is None else channels & self.channels

    def covers(self, channels: Collection[str], scopes: Collection[str] = ()) -> bool:
        """Whether something over these channels, whose metrics need these scopes, is within it."""
        return (self.channels is None or self.channels.issuperset(channels)) and self.scopes.issuperset(scopes)


def parse_channels(text: str | None) -> frozenset[str] | None:
    """Parse the channels of a user's row; None for all."""
    return None if text is None else frozenset(json.loads(text))


def write_channels(channels: Collection[str] | None) -> str | None:
    """Write channels as a user's row has them."""
    return None if channels is None else json.dumps(sorted(channels))
