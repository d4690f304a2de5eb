"""What each role may do in Studio: one table."""

from __future__ import annotations

from enum import Enum, auto

from reelport.server.access.roles import Role
from reelport.server.access.sessions import Session


class Right(Enum):
    """What a page or a form needs its visitor to be allowed to do."""

    ENTER = auto()  # anybody may: sign in, styles, views that were shared by a link
    GUARD_ACCOUNT = auto()  # whoever is signed in may, also who must add a second factor before anything else
    STAY = auto()  # whoever is signed in may: the own account, signing out
    LEAVE = auto()  # whoever is signed in, and whoever looks as an operator: signing out, ending a look
    READ_NUMBERS = auto()
    DOWNLOAD = auto()  # numbers and reports as files
    ASK_FOR_REPORTS = auto()
    SHARE_VIEWS = auto()
    # Cancel, delete and revoke what others of the organization, or its keys, made; the own may whoever made it.
    CHANGE_ANYBODYS = auto()
    MANAGE_KEYS = auto()
    MANAGE_PEOPLE = auto()
    READ_AUDIT_LOG = auto()  # of the own organization; operators read what concerns the platform alone
    LOOK = auto()  # begin to see an organization's Studio as its people do; never by a role alone
    READ_PLATFORM = auto()  # the numbers of the whole platform; never by a role alone
    OPERATE = auto()  # see the platform's own state: queue, workers, loads, disk; never a partner's numbers


BEFORE_FACTOR = frozenset({Right.ENTER, Right.GUARD_ACCOUNT, Right.LEAVE})
"""What somebody may do who must add a second factor."""
_SIGNED_IN = BEFORE_FACTOR | {Right.STAY}
_VIEWER = _SIGNED_IN | {Right.READ_NUMBERS, Right.DOWNLOAD}
_ANALYST = _VIEWER | {Right.ASK_FOR_REPORTS, Right.SHARE_VIEWS}
# The rights of each role; of None, those of whoever is not signed in.
RIGHTS: dict[Role | None, frozenset[Right]] = {
    None: frozenset({Right.ENTER}),
    Role.VIEWER: _VIEWER,
    Role.VIEWER_WITHOUT_REVENUE: _VIEWER,
    Role.ANALYST: _ANALYST,
    Role.OWNER: _ANALYST | {Right.CHANGE_ANYBODYS, Right.MANAGE_KEYS, Right.MANAGE_PEOPLE, Right.READ_AUDIT_LOG},
    Role.OPERATOR: _SIGNED_IN | {Right.READ_AUDIT_LOG, Right.OPERATE},
}
LOOKING = frozenset({Right.ENTER, Right.LEAVE, Right.READ_NUMBERS})
"""The rights of an operator's session while it looks at an organization, in place of its own."""


def find_rights(session: Session | None) -> frozenset[Right]:
    """Find what a session may do; None for a visitor who isn't signed in."""
    if session is not None and session.look is not None:
        return LOOKING
    if session is None:
        return RIGHTS[None]
    given = {Right.LOOK: session.may_look, Right.READ_PLATFORM: session.platform_role is not None}
    return RIGHTS[session.role] | {right for right, is_given in given.items() if is_given}
