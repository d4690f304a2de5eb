"""Products and payees: which facts count for a tenant, and whose the money of a row is."""

from __future__ import annotations

from enum import unique

from reelport.catalog.row_types import Known, KnownRow, Role, Row, Standing


@unique
class Payee(Row):
    """A kind of monetization, as facts spell it, and the role of the channel that is paid.

    The empty kind stands for rows without a kind. Money of a row without a channel in that role belongs to nobody. A
    payee that the platform names in the row itself takes precedence.
    """

    VIDEO_MONETIZATION = "video_monetization", Role.OWNER, Standing.CHOSEN, "A video's money is its owner's."
    WEBSITE_MONETIZATION = (
        "website_monetization",
        Role.PUBLISHER,
        Standing.CHOSEN,
        "A website's money is its publisher's.",
    )
    CLAIM = "claim", Role.CLAIMER, Standing.CHOSEN, "A claim's money is its claimer's."
    UNTOLD = "", Role.OWNER, Standing.CHOSEN, "Money without a kind is the owner's."

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
        "what your channels own",
        "What your channels own. This is the default.",
        (Role.OWNER,),
    )
    EMBED = (
        Known(_DOCUMENTED, _INFERRED),
        "what your channels' players and pages showed",
        "What your channels' players and pages showed, whoever owns it.",
        (Role.PUBLISHER,),
    )
    CLAIM = (
        Known(_DOCUMENTED, _INFERRED),
        "what your channels claimed",
        "What your channels claimed, whoever owns it: their own videos too.",
        (Role.CLAIMER,),
    )
    ALL = (
        Known(_DOCUMENTED, _INFERRED),
        "what your channels own, showed or claimed",
        "All three together, each row once.",
        (Role.OWNER, Role.PUBLISHER, Role.CLAIMER),
    )

    def __init__(self, known: Known, phrase: str, sentence: str, roles: tuple[Role, ...]) -> None:
        self.known = known
        self.phrase = phrase
        self.sentence = sentence
        self.roles = roles
