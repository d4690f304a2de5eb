"""The signed-in user's own account: `/studio/account`."""

from __future__ import annotations

import anyio.to_thread
from starlette.responses import Response

from reelport.server.access import sessions
from reelport.server.studio import pages
from reelport.server.studio.visit import Visit


async def show_account(visit: Visit) -> Response:
    """Show the user's role and sessions."""
    found = await anyio.to_thread.run_sync(sessions.list_sessions, visit.service.db, visit.user.user_id, visit.now)
    return pages.render(visit, "account.html", sessions=found)
