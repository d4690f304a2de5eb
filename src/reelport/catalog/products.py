"""Every product: whose data a report keeps."""

from __future__ import annotations

from enum import unique

from reelport.catalog.rules import Role, Row, Standing


@unique
class Product(Row):
    """One product: the roles in which one of the reader's channels must stand to a fact, first match first."""

    CONTENT = Standing.DOCUMENTED, "What your channels own. The one used when none is named.", (Role.OWNER,)
    EMBED = Standing.DOCUMENTED, "What your channels' players and pages showed, whoever owns it.", (Role.PUBLISHER,)
    CLAIM = Standing.DOCUMENTED, "What your channels claimed from others.", (Role.CLAIMER,)
    ALL = (
        Standing.DOCUMENTED,
        "The three together, each row once.",
        (Role.OWNER, Role.PUBLISHER, Role.CLAIMER),
    )

    def __init__(self, standing: Standing, sentence: str, roles: tuple[Role, ...]) -> None:
        self.standing = standing
        self.sentence = sentence
        self.roles = roles
