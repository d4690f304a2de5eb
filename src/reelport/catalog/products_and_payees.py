"""Products and payees: which facts count for a tenant, and whose the money of a row is."""

from __future__ import annotations

from enum import unique

from reelport.catalog.row_types import Known, KnownRow, Role, Row, Standing
from reelport.language import N_


@unique
class Payee(Row):
    """A kind of monetization, as facts spell it, and the role of the channel that is paid.

    The empty kind stands for rows without a kind. Money of a row without a channel in that role belongs to nobody. A
    payee that the platform names in the row itself takes precedence.
    """

    VIDEO_MONETIZATION = "video_monetization", Role.OWNER, Standing.CHOSEN, "A video's money goes to the owner."
    WEBSITE_MONETIZATION = (
        "website_monetization",
        Role.PUBLISHER,
        Standing.CHOSEN,
        "A website's money goes to the publisher.",
    )
    CLAIM = "claim", Role.CLAIMER, Standing.CHOSEN, "A claim's money goes to the claimer."
    UNTOLD = "", Role.OWNER, Standing.CHOSEN, "Money without a kind goes to the owner."

    def __init__(self, kind: str, role: Role, standing: Standing, sentence: str) -> None:
        self.kind = kind
        self.role = role
        self.standing = standing
        self.sentence = sentence


_DOCUMENTED, _, _INFERRED, _ = Standing


@unique
class Product(KnownRow):
    """A product: a fact counts for the first of its roles that a channel of the tenant has.

    `phrase` names the product inside a sentence.
    """

    CONTENT = (
        Known(_DOCUMENTED, _DOCUMENTED),
        N_("what your channels own"),
        "What your channels own. This is the default.",
        (Role.OWNER,),
    )
    EMBED = (
        Known(_DOCUMENTED, _INFERRED),
        N_("what your channels' players and pages showed"),
        "What your channels' players and pages showed, also videos of other owners.",
        (Role.PUBLISHER,),
    )
    CLAIM = (
        Known(_DOCUMENTED, _INFERRED),
        N_("what your channels claimed"),
        "What your channels claimed: videos of other owners, and your own.",
        (Role.CLAIMER,),
    )
    ALL = (
        Known(_DOCUMENTED, _INFERRED),
        N_("what your channels own, showed or claimed"),
        "The three products together. A row in several of them counts once.",
        (Role.OWNER, Role.PUBLISHER, Role.CLAIMER),
    )

    def __init__(self, known: Known, phrase: str, sentence: str, roles: tuple[Role, ...]) -> None:
        self.known = known
        self.phrase = phrase
        self.sentence = sentence
        self.roles = roles
