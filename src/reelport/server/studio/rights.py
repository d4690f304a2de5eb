"""What each role may do in Studio: one table."""

from __future__ import annotations

from enum import Enum, auto

from reelport.server.access.roles import Role


class Right(Enum):
    """What a page or a form needs its visitor to be allowed to do."""

    ENTER = auto()  # anybody may: sign in, styles, views that were shared by a link
    STAY = auto()  # whoever is signed in may: the own account, signing out
    READ_NUMBERS = auto()
    ASK_FOR_REPORTS = auto()
    SHARE_VIEWS = auto()
    # Cancel, delete and revoke what others of the organization, or its keys, made; the own may whoever made it.
    CHANGE_ANYBODYS = auto()
    MANAGE_KEYS = auto()
    MANAGE_PEOPLE = auto()
    READ_AUDIT_LOG = auto()  # of the own organization; operators read what concerns the platform alone
    OPERATE = auto()  # see the platform's own state: queue, workers, loads, disk; never a partner's numbers


_VIEWER = frozenset({Right.ENTER, Right.STAY, Right.READ_NUMBERS})
_ANALYST = _VIEWER | {Right.ASK_FOR_REPORTS, Right.SHARE_VIEWS}
# The rights of each role; of None, those of whoever is not signed in.
RIGHTS: dict[Role | None, frozenset[Right]] = {
    None: frozenset({Right.ENTER}),
    Role.VIEWER: _VIEWER,
    Role.VIEWER_WITHOUT_REVENUE: _VIEWER,
    Role.ANALYST: _ANALYST,
    Role.OWNER: _ANALYST | {Right.CHANGE_ANYBODYS, Right.MANAGE_KEYS, Right.MANAGE_PEOPLE, Right.READ_AUDIT_LOG},
    Role.OPERATOR: frozenset({Right.ENTER, Right.STAY, Right.READ_AUDIT_LOG, Right.OPERATE}),
}
