"""Rules of numbers and cells that one sentence a name can't tell, each with its standing."""

from __future__ import annotations

from enum import unique

from reelport.catalog.products_and_payees import Payee
from reelport.catalog.row_types import Row, Standing

_CHOSEN = Standing.CHOSEN
_PAYEES = " ".join(payee.sentence for payee in Payee)
_MONEY = ("REVENUE", "REVENUE_LEGACY", "REVENUE_ADS")
_PARENTS = ("OWNER_OR_PARENT_USERNAME", "PUBLISHER_OR_PARENT_USERNAME", "CLAIMER_OR_PARENT_USERNAME")


@unique
class Meaning(Row):
    """A rule: title, text, how well it is known, and the names and families it is about."""

    # fmt: off
    STOCK_DAY = "The day of storage", _CHOSEN, ("STORAGE",), (
        "A storage metric is the sum of one day: the latest day of the range, or of each time bucket, that has a row "
        "of storage of your channels.")
    STOCK_FILTERS = "Storage and filters", _CHOSEN, ("STORAGE",), (
        "A filter doesn't change the day of storage. So the reports of all values of a filter add up to the whole.")
    STOCK_LATE = "Storage of a late channel", _CHOSEN, ("STORAGE",), (
        "The day of storage is the same for all your channels. A channel without a row on this day counts as empty, "
        "even if the channel's data is late. To see the days of each channel, add DAY.")
    OWNERS_ALONE = "Metrics of owners", _CHOSEN, ("UPLOADS", "TRANSCODING", "STORAGE", "AI"), (
        "Uploads, transcoding, storage and AI features belong only to the owner: CONTENT and ALL have rows. Under "
        "EMBED or CLAIM a report has no rows.")
    PARENT_NAMES = "Names of parents", _CHOSEN, _PARENTS, (
        "If an account has a parent, the cell has the parent's user name. The cell is empty if the parent isn't "
        "loaded, or if a channel's account isn't loaded or has no user name.")
    TAG_LIST = "Tags in one cell", _CHOSEN, ("CONTENT_TAG_LIST",), (
        "CONTENT_TAG_LIST has a vertical bar between tags. Bars and backslashes inside a tag have a backslash before "
        "them, so different lists never give the same cell. `reelport.split_tags` gives the tags back.")
    LIVE_VIEWERS = "Plays without a viewer", _CHOSEN, ("LIVE_VIEWERS",), (
        "LIVE_VIEWERS counts the different viewers of live plays exactly. Plays without a viewer don't count, because "
        "the same viewer may have other plays. If there are such plays, the number is a lower bound. If no play has a "
        "viewer, the cell is empty.")
    PAYEE = "Whose the money is", _CHOSEN, _MONEY, (
        "A row of earnings counts only for one channel, the payee. So the earnings of all partners under ALL add up to "
        f"the platform's earnings. {_PAYEES} If a row names a payee (payee_channel_id), the named channel is paid, "
        "for any kind. Plays, ads and usage count for every channel that has a role.")
    PAYEE_PRODUCT = "Money and products", _CHOSEN, _MONEY, (
        "CONTENT has rows whose payee is the owner, EMBED rows whose payee is the publisher, CLAIM rows whose payee is "
        "the claimer. If the payee has several roles, the row is in several products. ALL has everything that your "
        "channels are paid, with or without a role.")
    PAYEE_SLUG = "Money and your channel", _CHOSEN, ("CHANNEL_SLUG", "channelSlug"), (
        "For money, CHANNEL_SLUG and channelSlug are the payee's slug.")
    NOBODYS = "Money without a payee", _CHOSEN, _MONEY, (
        "A website's row without a publisher, and a claim without a claimer, count for no partner. `reelport payees` "
        "shows the operator this money, and the money of each channel.")
    MONEY_OVER_ADS = "Money divided by ads", _CHOSEN, ("REVENUE_ADS",), (
        "ECPM and ERPM divide your money by the ads for which you are paid, in the same product. NB_IMPRESSION and "
        "SELLABLE_INVENTORY also count ads in which you have a role, but for which other channels are paid.")
    # fmt: on

    def __init__(self, title: str, standing: Standing, about: tuple[str, ...], sentence: str) -> None:
        self.title = title
        self.standing = standing
        self.about = about
        self.sentence = sentence
