"""Rules of numbers and cells that one sentence a name can't tell, each with its standing."""

from __future__ import annotations

from enum import unique

from reelport.catalog.payees import Payee
from reelport.catalog.row_types import Row, Standing

_CHOSEN = Standing.CHOSEN
_PAYEES = " ".join(payee.sentence for payee in Payee)
_MONEY = ("REVENUE", "REVENUE_LEGACY", "REVENUE_ADS")
_PARENTS = ("OWNER_OR_PARENT_USERNAME", "PUBLISHER_OR_PARENT_USERNAME", "CLAIMER_OR_PARENT_USERNAME")


@unique
class Meaning(Row):
    """A rule: title, text, how well it is known, and the names and families it is about."""

    # fmt: off
    STOCK_DAY = "The day of a stock", _CHOSEN, ("STORAGE",), (
        "What is stored is what there was on one day: the latest, in the range and each asked time bucket, on which "
        "the channels that you read own any row of storage. Rows of others don't move it.")
    STOCK_FILTERS = "A stock and filters", _CHOSEN, ("STORAGE",), (
        "A filter doesn't move that day: the reports of all values of a filter add up to the whole.")
    STOCK_LATE = "A stock and a late channel", _CHOSEN, ("STORAGE",), (
        "One day serves all your channels. One without a row on it has nothing stored there, whether it was emptied or "
        "is late: split by DAY to see the days of each.")
    OWNERS_ALONE = "What has one role", _CHOSEN, ("UPLOADS", "TRANSCODING", "STORAGE", "AI"), (
        "Uploads, transcoding, storage and AI features are their owner's alone: CONTENT and ALL have them. A report "
        "under EMBED or CLAIM is a header without rows.")
    PARENT_NAMES = "Names of parents", _CHOSEN, _PARENTS, (
        "An account that has a parent stands by the parent's user name. Where that isn't loaded the cell is empty, and "
        "never the account's own name. It is empty too for a channel whose account isn't loaded or has no user name.")
    TAG_LIST = "Tags in one cell", _CHOSEN, ("CONTENT_TAG_LIST",), (
        "CONTENT_TAG_LIST has a vertical bar between tags. A backslash stands before each bar and each backslash that "
        "is part of a tag, so that two different lists are never one cell. `reelport.split_tags` gives the tags back.")
    LIVE_VIEWERS = "Viewers that are not told", _CHOSEN, ("LIVE_VIEWERS",), (
        "LIVE_VIEWERS counts exactly the different viewers of the live plays that tell theirs. Plays without a viewer "
        "count none, since they may be of somebody who is counted already: where there are any, the number is a lower "
        "bound; where no play tells a viewer, the cell is empty.")
    PAYEE = "Whose the money is", _CHOSEN, _MONEY, (
        "A row of earnings counts for its payee alone, so that over all partners, product ALL, earnings add up to what "
        f"the platform has. {_PAYEES} Where a row names a channel as its payee (payee_channel_id), that one is paid, "
        "whatever the kind. Plays, ads and usage stay with everyone who has a role.")
    PAYEE_PRODUCT = "Money and products", _CHOSEN, _MONEY, (
        "Under CONTENT, EMBED or CLAIM the payee itself must be the row's owner, publisher or claimer; one that is "
        "several of these is in several products. ALL has all that your channels are paid, in whatever role or none.")
    PAYEE_SLUG = "Money and your channel", _CHOSEN, ("CHANNEL_SLUG", "channelSlug"), (
        "For money CHANNEL_SLUG and channelSlug are the payee's slug.")
    NOBODYS = "Money of nobody", _CHOSEN, _MONEY, (
        "A website's row without a publisher and a claim's without a claimer count for no partner. `reelport payees` "
        "shows the operator how much that is, and what each channel is paid.")
    MONEY_OVER_ADS = "Money over ads", _CHOSEN, ("REVENUE_ADS",), (
        "ECPM and ERPM divide by the ads whose payee you are, by the same rule, in the same product: never money of "
        "one kind by ads of another. NB_IMPRESSION and SELLABLE_INVENTORY count more than these where others are paid "
        "for ads that you have a role in.")
    # fmt: on

    def __init__(self, title: str, standing: Standing, about: tuple[str, ...], sentence: str) -> None:
        self.title = title
        self.standing = standing
        self.about = about
        self.sentence = sentence
