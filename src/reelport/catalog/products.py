"""Every product: the selection of facts by the role of the tenant's channels."""

from __future__ import annotations

from enum import unique

from reelport.catalog.row_types import Role, Standing
from reelport.catalog.standings import Known, KnownRow

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
