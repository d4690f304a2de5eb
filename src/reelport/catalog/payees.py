"""Payees: each row of money has one channel, so that no euro counts twice over partners."""

from __future__ import annotations

from enum import unique

from reelport.catalog.row_types import Role, Row, Standing


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
