"""Every dimension: what it splits a report by. Names are the wire's."""

from __future__ import annotations

from enum import unique

from reelport.catalog.rules import CellType, Grain, Row, Standing
from reelport.catalog.tags import TAG_SEPARATOR

_DOCUMENTED, _SCHEMA, *_ = Standing


@unique
class Dimension(Row):
    """One dimension: standing of its name, its sentence, the type of its cells.

    `grain` is set on the four of time. A dimension that is `many_valued` gives a fact
    to more than one row, so that rows don't add up over it.
    """

    MINUTE = _SCHEMA, "Minute of the event (UTC).", CellType.MINUTE, Grain.MINUTE
    HOUR = _DOCUMENTED, "Hour of the event (UTC).", CellType.HOUR, Grain.HOUR
    DAY = _DOCUMENTED, "Day of the event (UTC).", CellType.DAY, Grain.DAY
    MONTH = _DOCUMENTED, "Month of the event (UTC).", CellType.MONTH, Grain.MONTH

    CHANNEL_SLUG = _DOCUMENTED, "Slug of your channel by which the row is yours."
    VIDEO_OWNER_CHANNEL_SLUG = _DOCUMENTED, "Slug of the channel that owns the video."
    VIDEO_OWNER_ID = _SCHEMA, "Id of the account that owns the video."
    VIDEO_OWNER_USERNAME = _SCHEMA, "User name of the account that owns the video."
    OWNER_OR_PARENT_USERNAME = _SCHEMA, "User name of the owner's parent account, or of the owner where there is none."
    PUBLISHER_CHANNEL = _DOCUMENTED, "Slug of the channel whose player or page showed the video."
    PUBLISHER_ID = _DOCUMENTED, "Id of the account whose player or page showed the video."
    PUBLISHER_OR_PARENT_USERNAME = (
        _SCHEMA,
        "User name of the publisher's parent account, or of the publisher where there is none.",
    )
    CLAIMER_CHANNEL = _SCHEMA, "Slug of the channel that claimed the video."
    CLAIMER_OR_PARENT_USERNAME = (
        _SCHEMA,
        "User name of the claimer's parent account, or of the claimer where there is none.",
    )
    ACCOUNT_ID = _SCHEMA, "Id of the account that the fact is booked on: the owner's."
    ACCOUNT_USERNAME = _SCHEMA, "User name of the account that the fact is booked on: the owner's."
    PARENT_ACCOUNT_ID = _SCHEMA, "Id of that account's parent account; empty where there is none."
    PARENT_ACCOUNT_USERNAME = _SCHEMA, "User name of that account's parent account; empty where there is none."

    VIDEO_ID = _DOCUMENTED, "Public id of the video."
    VIDEO_TITLE = _DOCUMENTED, "Title of the video."
    VISIBILITY = _DOCUMENTED, "Who may see the uploaded video."
    MEDIA_TYPE = _DOCUMENTED, "Kind of media: video or live."
    CONTENT_TYPE = _SCHEMA, "Kind of content."
    CONTENT_TAG = _DOCUMENTED, "One tag of the video; a row a tag, and one empty row for untagged videos.", True
    CONTENT_TAG_LIST = (
        _DOCUMENTED,
        f"All tags of the video in one cell, with {TAG_SEPARATOR} between them; a backslash marks one inside a tag.",
    )
    PLAYLIST_ID = _DOCUMENTED, "Playlist that the video was played from; empty when none."
    PLAYLIST_TITLE = _DOCUMENTED, "Title of that playlist."
    PLAYLIST_TYPE = _SCHEMA, "Type of that playlist."
    VIDEO_POSITION = _DOCUMENTED, "Place of the video in the play sequence."
    ACTION = _DOCUMENTED, "How the play was started."

    PLAYER_ID = _DOCUMENTED, "Player configuration."
    PLAYER_TITLE = _DOCUMENTED, "Title of the player configuration."
    PLAYER_TYPE = _SCHEMA, "Type of the player."
    PLAYER_SIZE = _SCHEMA, "Size of the player."
    PLAYER_SIZE_BUCKET = _SCHEMA, "Class of the player's size."

    VISITOR_COUNTRY = _DOCUMENTED, "Country of the visitor."
    VISITOR_DEVICE_TYPE = _DOCUMENTED, "Kind of device of the visitor."
    VISITOR_DOMAIN_GROUP = _DOCUMENTED, "Group of domains that the page belongs to."
    VISITOR_SUBDOMAIN = _DOCUMENTED, "Host of the page that the visitor watched on."
    VISITOR_PAGE_URL = _DOCUMENTED, "Address of the page that the visitor watched on."

    INVENTORY_POSITION = _SCHEMA, "Where the ad opportunity lies around the content: pre-roll, mid-roll, post-roll."
    INVENTORY_POSITION_INDEX = _DOCUMENTED, "Slot in the pre-roll sequence: preroll1, preroll2, others."
    AD_FORMAT = _SCHEMA, "Format of the ad."
    BUYER = _SCHEMA, "Who bought the impression."
    BUYERTYPE = _SCHEMA, "Kind of buyer."
    AD_ERROR_CODE = _SCHEMA, "Code of the ad error."
    AD_ERROR_READABLE = _SCHEMA, "The ad error in words."
    NOAD_REASON_READABLE = _SCHEMA, "Why there was no ad, in words."
    OUTCOME = _SCHEMA, "What became of an unfilled opportunity: ad errors, no fills, timeout."
    ADS_TXT_STATUS = _SCHEMA, "What the page's ads.txt says of the seller."
    MONETIZATION_TYPE = _SCHEMA, "Kind of monetization: claim, video_monetization, website_monetization."
    MONETIZATION_PRODUCT = _SCHEMA, "Product under which the opportunity was sold."

    RENDITION_FORMAT = _SCHEMA, "Format of the rendition."
    RENDITION_RESOLUTION = _SCHEMA, "Resolution of the rendition."
    RENDITION_FPS = _SCHEMA, "Frames a second of the rendition."
    AI_FEATURE_NAME = _SCHEMA, "AI feature that used the credits."

    def __init__(self, standing: Standing, sentence: str, *more: CellType | Grain | bool) -> None:
        self.standing = standing
        self.sentence = sentence
        self.type = next((item for item in more if isinstance(item, CellType)), CellType.TEXT)
        self.grain = next((item for item in more if isinstance(item, Grain)), None)
        self.many_valued = any(item is True for item in more)

    @property
    def header(self) -> str:
        """Its column name in the CSV."""
        return self.name.lower()
