"""Names in other vendors' exports for the columns of our tables, as words without units.

They come from video platforms' own analytics, web analytics, warehouses, ad servers and hand-made sheets. A name can
belong to several columns; its place in each column's list says which column is likelier.
"""

from __future__ import annotations

from collections.abc import Mapping

_WHEN = "event date;report date;stat date;activity date;date;day;period;dt;ds;event day;date utc;day utc"
_HOUR = (
    "timestamp;event timestamp;event time;time;datetime;date time;date hour;hour;start time;started;"
    "ts;occurred;view start"
)
_COUNTRY = (
    "country code;country;viewer country;geo country;country iso;iso country;country iso code;geo;location country;"
    "visitor country;user country;geo country code;geography;territory"
)
_DEVICE = "device type;device;device category;viewer device category;device class;device kind;user device;player device"
_POSITION = "position;playlist position;sequence;video index;index in playlist"
_HOST = "host;hostname;domain;embed domain;site;subdomain;page host;source domain;website"
_PAGE = "page url;url;page;embed url;page location;embedded player location;referrer url;location;source url"

NAMES: Mapping[str, str] = {
    "started_at": f"{_HOUR};{_WHEN}",
    "day": f"{_WHEN};{_HOUR}",
    "video_id": (
        "video;content id;media id;asset id;clip id;entry id;external video id;video xid;xid;content;"
        "media;asset;yt video id"
    ),
    "owner_channel_id": (
        "channel id;owner id;owner channel;channel;uploader id;video owner id;partner id;content owner id;channel xid;"
        "publisher account id;property id;uploader;owner;account id"
    ),
    "publisher_channel_id": "publisher id;publisher;embedder id;embedding channel id;site owner id",
    "claimer_channel_id": "claimer id;claimer;claimed by;rights holder id;claiming channel id",
    "payee_channel_id": "payee id;payee;paid to;beneficiary id",
    "media_type": (
        "stream type;video type;live or on demand;content delivery type;is live;live;vod or live;delivery type"
    ),
    "action": "start type;play method;autoplay;play trigger;play reason",
    "playlist_id": "playlist;list id;playlist xid",
    "video_position": _POSITION,
    "player_id": "player;player configuration id;embed id;player key",
    "visitor_country": _COUNTRY,
    "visitor_device_type": _DEVICE,
    "visitor_domain_group": "domain group;site group;property group",
    "visitor_subdomain": _HOST,
    "visitor_page_url": _PAGE,
    "monetization_type": "monetisation type;revenue type;monetization",
    "viewer": "viewer id;viewer user id;visitor id;user id;client id;user pseudo id;viewer hash;cookie id",
    "views": (
        "view count;video views;plays;play count;video plays;starts;video starts;total views;"
        "total plays;video view;hits"
    ),
    "time_watched_seconds": (
        "watch time;watched;estimated watched;watched time;viewing time;view time;time viewed;played;play time;viewed;"
        "video viewed;watch duration;playing time;engagement time;total watch time;time played"
    ),
    "watchable_seconds": "watchable;possible watch time;content duration total",
    "sellable_inventory": "ad opportunities;opportunities;inventory;sellable opportunities;ad opportunity",
    "nb_impression": "impressions;ad impressions;impression count;served impressions;monetized impressions",
    "no_fills": "unfilled;unfilled impressions;no fill;unfilled requests",
    "ad_errors": "errors;ad error count;error count",
    "timeouts": "timed out;timeout count;time outs",
    "ad_view_completed": "completions;ad completions;completed views;complete views",
    "ad_format": "format;creative format;ad type;creative type",
    "inventory_position": "ad position;position;slot type;ad slot;break type",
    "inventory_position_index": "ad index;position index",
    "buyer": "advertiser;buyer name;demand partner;bidder",
    "buyertype": "buyer kind;demand type;deal type",
    "monetization_product": "product;ad product;revenue source",
    "player_size": "size;player dimensions;dimensions",
    "eur": (
        "revenue;estimated revenue;earnings;estimated earnings;amount;net revenue;partner revenue;"
        "payout;estimated partner revenue"
    ),
    "usd": (
        "revenue;estimated revenue;earnings;estimated earnings;amount;net revenue;partner revenue;"
        "payout;estimated partner revenue"
    ),
    "kind": "usage type;usage kind;metric kind;service",
    "bandwidth_vod_bytes": "bandwidth;traffic;delivered;egress;transferred;data transfer;bandwidth vod;vod traffic",
    "bandwidth_live_bytes": "bandwidth live;live bandwidth;live traffic;live egress",
    "storage_bytes": "storage;stored;storage used;disk usage",
    "ai_credits": "credits;ai usage",
    "id": "{}",
    "title": "name;video title;content title;headline;media title;asset name",
    "duration_seconds": "duration;length;video length;video duration;media duration;runtime;content duration",
    "tags": "keywords;labels;categories;video tags",
    "visibility": "privacy;privacy status;status;access",
    "created_at": (
        "uploaded;upload date;upload time;published;publish time;publish date;video publish time;"
        "creation date;created;date added;published date"
    ),
    "deleted_at": "deleted;removed;deletion date;date deleted",
    "slug": "handle;custom url;short name;channel handle;alias",
    "name": "channel name;channel title;display name;title;channel",
    "account_id": "account;owner account;customer id",
    "type": "kind;category",
    "username": "user name;login;account name;name",
    "parent_account_id": "parent id;parent account;parent;organization id",
}
"""Names that exports use for each column, the likeliest first."""

KEYS: Mapping[str, str] = {
    "videos": "video id;content id;media id;asset id;video;clip id;entry id;xid;content",
    "channels": "channel id;owner id;uploader id;channel xid;channel",
    "players": "player id;player;embed id",
    "playlists": "playlist id;playlist;list id",
    "accounts": "account id;account;customer id;user id",
}
"""Names that exports use for the `id` of each object table."""

DEVICES: Mapping[str, str] = {
    "mobile phone": "mobile",
    "mobile_phone": "mobile",
    "phone": "mobile",
    "smartphone": "mobile",
    "computer": "desktop",
    "pc": "desktop",
    "laptop": "desktop",
    "connected tv": "tv",
    "connected_tv": "tv",
    "ctv": "tv",
    "smart tv": "tv",
    "smart_tv": "tv",
    "television": "tv",
}
"""Words that exports use for kinds of devices, in lower case."""

MEDIA: Mapping[str, str] = {
    "vod": "video",
    "on demand": "video",
    "on_demand": "video",
    "ondemand": "video",
    "recorded": "video",
    "live stream": "live",
    "live_stream": "live",
    "livestream": "live",
}
"""Words that exports use for kinds of media, in lower case."""

UNKNOWN = frozenset(
    {"ZZ", "XX", "T1", "A1", "A2", "O1", "??", "-", "--", "N/A", "NA?", "UNKNOWN", "(NOT SET)", "NULL", "NONE"}
)
"""Texts that exports write for an unknown country, in upper case."""
