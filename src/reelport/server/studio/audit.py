"""The audit log, `/studio/audit`."""

from __future__ import annotations

from functools import partial
from urllib.parse import urlencode

import anyio.to_thread
from starlette.responses import Response

from reelport.server.access import audit_log
from reelport.server.access.audit_log import Action
from reelport.server.access.users import normalize_email
from reelport.server.studio import pages
from reelport.server.studio.visit import Visit

PATH = f"{pages.ROOT}/audit"
_ROWS = 100
_MOST_DIGITS = 18


async def show_audit_log(visit: Visit) -> Response:
    """Show a page of the audit log, newest first.

    It may be of one person or one kind of action. Owners see what concerns their organization,
    operators what concerns the platform alone.
    """
    given = visit.request.query_params
    person, action = normalize_email(given.get("person", ""))[:320], given.get("action", "")
    organization_id, before = visit.user.organization_id, given.get("before", "")
    is_number = before.isascii() and before.isdigit() and len(before) <= _MOST_DIGITS
    read = partial(
        audit_log.list_actions,
        visit.service.db,
        organization_id=organization_id,
        platform_only=organization_id is None,
        actor=person,
        action=action if action in set(Action) else "",
        before=int(before) if is_number else None,
        most=_ROWS + 1,
    )
    found = await anyio.to_thread.run_sync(read)
    older = None
    if len(found) > _ROWS:
        kept = {"person": person, "action": action, "before": str(found[_ROWS - 1].number)}
        older = f"{PATH}?{urlencode({name: value for name, value in kept.items() if value}, errors='replace')}"
    rows = [(each, audit_log.describe_action(each)) for each in found[:_ROWS]]
    return pages.render(visit, "audit.html", rows=rows, actions=list(Action), person=person, action=action, older=older)
