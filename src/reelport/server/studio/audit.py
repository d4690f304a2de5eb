"""The audit log, `/studio/audit`."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlencode

from starlette.responses import Response

from reelport.server.access import audit_log, channel_registry
from reelport.server.access.audit_log import Action
from reelport.server.access.users import normalize_email
from reelport.server.studio import pages
from reelport.server.studio.visit import Visit

PATH = f"{pages.ROOT}/audit"
_ROWS = 100


def show_audit_log(visit: Visit) -> Response:
    """Show a page of the audit log, newest first.

    It may be of one person or one kind of action. Owners see what concerns their organization,
    operators what concerns the platform alone.
    """
    given = visit.request.query_params
    person, action = normalize_email(given.get("person", ""))[:320], given.get("action", "")
    organization_id, subject = visit.user.organization_id, given.get("subject", "")
    before = re.fullmatch("[0-9]{1,18}", given.get("before", ""))
    found = audit_log.list_actions(
        visit.service.db,
        organization_id=organization_id,
        platform_only=organization_id is None,
        actor=person,
        action=action if action in set(Action) else "",
        subject=subject,
        before=int(before[0]) if before else None,
        most=_ROWS + 1,
    )
    older = None
    if len(found) > _ROWS:
        kept = {"person": person, "action": action, "subject": subject, "before": str(found[_ROWS - 1].number)}
        older = f"{PATH}?{urlencode({name: value for name, value in kept.items() if value}, errors='replace')}"
    names_channels = any(isinstance(each.details.get("channels"), list) for each in found)
    # Most pages need no table of facts.
    known = channel_registry.find_channels(visit.service.settings) if names_channels else {}
    channels = {id_: each.name or each.slug for id_, each in (known or {}).items()}
    rows = [(each, audit_log.describe_action(each, channels)) for each in found[:_ROWS]]
    shown: dict[str, Any] = {"rows": rows, "actions": list(Action), "older": older, "visitor": audit_log.VISITOR}
    shown["lacks_names"] = known is None
    return pages.render(visit, "audit.html", **shown, person=person, action=action, subject=subject)
