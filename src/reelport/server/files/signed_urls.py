"""Signed URLs: download links that expire and that only the service secret can make."""

from __future__ import annotations

import hmac
import json
import math
from datetime import UTC, datetime
from urllib.parse import urlencode

from reelport.engine.report_format import CSV, FileType
from reelport.server.credentials import ServiceSecret
from reelport.wire import FILES_PATH


def sign_url(service_secret: ServiceSecret, report_id: str, key_id: str, until: datetime, form: FileType = CSV) -> str:
    """Make a report's download link for whoever has it; each download checks the key's access.

    The signature is that of every form: another suffix in the path gives the file in another one.
    """
    # Rounded up: else a link would expire within its report's last second.
    expires = math.ceil(until.timestamp())
    query = urlencode(
        {"expires": expires, "key": key_id, "signature": _signature(service_secret, report_id, key_id, expires)}
    )
    return f"{FILES_PATH}/{form.file_name(report_id)}?{query}"


def is_signed(
    service_secret: ServiceSecret, report_id: str, key_id: str, expires: str, signature: str, now: datetime
) -> bool:
    """Whether the signature of a link is valid and the link has not expired.

    `key_id`, `expires` and `signature` are taken from the query unchecked. Whether the key still has access is not
    checked here: `report_access.find_linked_report` does that.
    """
    if not (expires.isascii() and expires.isdigit() and len(expires) <= len("9999999999")):
        return False
    is_valid = hmac.compare_digest(
        _signature(service_secret, report_id, key_id, int(expires)).encode(), signature.encode("utf-8", "replace")
    )
    return is_valid and now < datetime.fromtimestamp(int(expires), UTC)


def _signature(service_secret: ServiceSecret, report_id: str, key_id: str, expires: int) -> str:
    return service_secret.hash("link", json.dumps([report_id, key_id, expires]))
