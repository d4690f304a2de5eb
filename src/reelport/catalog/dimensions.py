"""Every dimension by which a report can be split, by the wire's name."""

from __future__ import annotations

from enum import unique

from reelport.catalog.row_types import (
    DESCRIBED_NAME,
    DOCUMENTED_NAME,
    SCHEMA_NAME,
    CellType,
    Grain,
    Known,
    KnownRow,
    Standing,
)
from reelport.language import N_

_DOCUMENTED, _SCHEMA, _INFERRED, _CHOSEN = Standing
_NAMED, _SEEN, _DESCRIBED = DOCUMENTED_NAME, SCHEMA_NAME, DESCRIBED_NAME
_TIME = DOCUMENTED_NAME.but(meaning=_DOCUMENTED)


@unique
class Dimension(KnownRow):
    """One dimension: how well it is known, its label, its sentence, the type of its cells.

    `grain` is set on the four dimensions of time. A `many_valued` dimension puts one fact into several rows, so rows
    don't add up over it.
    """

    # fmt: off
    MINUTE = _SEEN, N_("minute"), N_("Minute of the event (UTC)."), CellType.MINUTE, Grain.MINUTE
    HOUR = _TIME, N_("hour"), N_("Hour of the event (UTC)."), CellType.HOUR, Grain.HOUR
    DAY = _TIME.but(values=_INFERRED), N_("day"), N_("Day of the event (UTC)."), CellType.DAY, Grain.DAY
    MONTH = _TIME, N_("month"), N_("Month of the event (UTC)."), CellType.MONTH, Grain.MONTH

    CHANNEL_SLUG = _NAMED.but(meaning=_CHOSEN), N_("your channel"), N_("Slug of your channel for which the row counts.")
    VIDEO_OWNER_CHANNEL_SLUG = _NAMED, N_("channel"), N_("Slug of the channel that owns the video.")
    VIDEO_OWNER_ID = _SEEN, N_("owner ID"), N_("Id of the account that owns the video.")
    VIDEO_OWNER_USERNAME = _SEEN, N_("owner"), N_("User name of the account that owns the video.")
    OWNER_OR_PARENT_USERNAME = (_SEEN, N_("owner or its parent"),
        N_("User name of the owner's parent account, or of the owner if there is no parent."))
    PUBLISHER_CHANNEL = (_NAMED, N_("publisher channel"),
        N_("Slug of the channel whose player or page showed the video."))
    PUBLISHER_ID = _NAMED, N_("publisher ID"), N_("Id of the account whose player or page showed the video.")
    PUBLISHER_OR_PARENT_USERNAME = (_SEEN, N_("publisher or its parent"),
        N_("User name of the publisher's parent account, or of the publisher if there is no parent."))
    CLAIMER_CHANNEL = _SEEN, N_("claimer channel"), N_("Slug of the channel that claimed the video.")
    CLAIMER_OR_PARENT_USERNAME = (_SEEN, N_("claimer or its parent"),
        N_("User name of the claimer's parent account, or of the claimer if there is no parent."))
    ACCOUNT_ID = (_SEEN.but(meaning=_CHOSEN), N_("account ID"),
        N_("Id of the fact's account: the account of the video's owner."))
    ACCOUNT_USERNAME = (_SEEN.but(meaning=_CHOSEN), N_("account"),
        N_("User name of the fact's account: the account of the video's owner."))
    PARENT_ACCOUNT_ID = (_SEEN, N_("parent account ID"),
        N_("Id of the parent of the fact's account; empty if there is no parent."))
    PARENT_ACCOUNT_USERNAME = (_SEEN, N_("parent account"),
        N_("User name of the parent of the fact's account; empty if there is no parent."))

    VIDEO_ID = _NAMED.but(values=_INFERRED), N_("video"), N_("Public id of the video.")
    VIDEO_TITLE = _NAMED, N_("video title"), N_("Title of the video.")
    VISIBILITY = _NAMED, N_("visibility"), N_("Who may see the uploaded video.")
    MEDIA_TYPE = _NAMED.but(values=_INFERRED), N_("media type"), N_("Kind of media: video or live.")
    CONTENT_TYPE = _SEEN, N_("content type"), N_("Kind of content.")
    CONTENT_TAG = (_NAMED, N_("tag"),
        N_("One tag of the video: each tag has a row; a video without tags has one empty cell."), True)
    CONTENT_TAG_LIST = (_NAMED.but(meaning=_CHOSEN), N_("tags together"),
        N_("All tags of the video in one cell, with | between two tags."))
    PLAYLIST_ID = (_NAMED.but(values=_INFERRED), N_("playlist"),
        N_("Playlist that the video was played from; empty if there is none."))
    PLAYLIST_TITLE = _NAMED, N_("playlist title"), N_("Title of the playlist.")
    PLAYLIST_TYPE = _SEEN, N_("playlist type"), N_("Type of the playlist.")
    VIDEO_POSITION = _NAMED, N_("place in the sequence"), N_("Place of the video in the play sequence.")
    ACTION = _NAMED, N_("start of the play"), N_("How the play was started.")

    PLAYER_ID = _NAMED.but(values=_INFERRED), N_("player"), N_("Player configuration.")
    PLAYER_TITLE = _NAMED, N_("player title"), N_("Title of the player configuration.")
    PLAYER_TYPE = _SEEN, N_("player type"), N_("Type of the player.")
    PLAYER_SIZE = _SEEN, N_("player size"), N_("Size of the player.")
    PLAYER_SIZE_BUCKET = _SEEN, N_("player size class"), N_("Class of the player's size.")

    VISITOR_COUNTRY = _NAMED, N_("country"), N_("Country of the visitor.")
    VISITOR_DEVICE_TYPE = _NAMED.but(values=_INFERRED), N_("device"), N_("Kind of device of the visitor.")
    VISITOR_DOMAIN_GROUP = _NAMED, N_("domain group"), N_("Group of domains that the page belongs to.")
    VISITOR_SUBDOMAIN = _NAMED, N_("site"), N_("Host of the page that the visitor watched on.")
    VISITOR_PAGE_URL = _NAMED.but(values=_INFERRED), N_("page"), N_("Address of the page that the visitor watched on.")

    INVENTORY_POSITION = (_DESCRIBED.but(values=_INFERRED), N_("ad position"),
        N_("Position of the ad opportunity in the content: pre-roll, mid-roll, post-roll."))
    INVENTORY_POSITION_INDEX = (_NAMED.but(meaning=_DOCUMENTED, values=_DOCUMENTED), N_("pre-roll slot"),
        N_("Slot in the pre-roll sequence: preroll1, preroll2, others."))
    AD_FORMAT = _SEEN, N_("ad format"), N_("Format of the ad.")
    BUYER = _DESCRIBED, N_("buyer"), N_("Who bought the impression.")
    BUYERTYPE = _DESCRIBED, N_("buyer type"), N_("Kind of buyer.")
    AD_ERROR_CODE = _DESCRIBED, N_("ad error code"), N_("Code of the ad error.")
    AD_ERROR_READABLE = _DESCRIBED, N_("ad error"), N_("The ad error in words.")
    NOAD_REASON_READABLE = _DESCRIBED, N_("reason for no ad"), N_("Why there was no ad, in words.")
    OUTCOME = (_DESCRIBED.but(values=_INFERRED), N_("outcome"),
        N_("Why an opportunity was not filled: ad errors, no fills, timeout."))
    ADS_TXT_STATUS = _SEEN, N_("ads.txt status"), N_("What the page's ads.txt says about the seller.")
    MONETIZATION_TYPE = (_SEEN.but(values=_INFERRED), N_("monetization"),
        N_("Kind of monetization: claim, video_monetization, website_monetization."))
    MONETIZATION_PRODUCT = _SEEN, N_("monetization product"), N_("Product under which the opportunity was sold.")

    RENDITION_FORMAT = _SEEN, N_("rendition format"), N_("Format of the rendition.")
    RENDITION_RESOLUTION = _SEEN, N_("rendition resolution"), N_("Resolution of the rendition.")
    RENDITION_FPS = _SEEN, N_("frames per second"), N_("Frames a second of the rendition.")
    AI_FEATURE_NAME = _SEEN, N_("AI feature"), N_("AI feature that used the credits.")
    # fmt: on

    def __init__(self, known: Known, label: str, sentence: str, *more: CellType | Grain | bool) -> None:
        self.known = known
        self.label = label
        self.sentence = sentence
        self.type = next((item for item in more if isinstance(item, CellType)), CellType.TEXT)
        self.grain = next((item for item in more if isinstance(item, Grain)), None)
        self.many_valued = any(item is True for item in more)

    @property
    def header(self) -> str:
        """Its column name in the CSV."""
        return self.name.lower()
