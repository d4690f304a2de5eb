"""The saved views of the organization: `/studio/saved`."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import anyio.to_thread
from starlette.responses import Response

from reelport.errors import UsageError
from reelport.facts.log.freshness import read_freshness
from reelport.server.explore.view import Pairs, Parameter
from reelport.server.explore.view_parameters import Defaults, ParsedView, parse_view
from reelport.server.studio import pages, report_form, saved_views
from reelport.server.studio.pages import write_page
from reelport.server.studio.refusals import Refused, not_found
from reelport.server.studio.saved_views import SavedView
from reelport.server.studio.view_numbers import load_freshness, make_defaults
from reelport.server.studio.visit import Visit

PATH = f"{pages.ROOT}/saved"
_OWN_FIELDS = frozenset({"csrf", "name", "days"})


@dataclass(frozen=True, slots=True)
class ListedView:
    """A saved view as the page shows it: in words, as links, and what is wrong with it by now.

    `newest` asks for as many days up to the last complete one; None for a view whose days move on by themselves.
    """

    saved: SavedView
    parsed: ParsedView
    newest: str | None
    may_change: bool

    @property
    def fields(self) -> Pairs:
        """The fields of a form that is about this view."""
        return self.parsed.view.at_its_days().params()


async def show_saved(visit: Visit) -> Response:
    """List the saved views by name."""
    return await _show(visit)


async def save_view(visit: Visit) -> Response:
    """Save the view of a form under its name."""
    parsed = await read_view(visit)
    name = visit.form.text("name")
    work = partial(saved_views.save_view, visit.service.db, visit.organization_id, visit.actor)
    try:
        await anyio.to_thread.run_sync(work, name, parsed.view, visit.now)
    except UsageError as error:
        return await _show(visit, 422, [str(error)])
    return pages.redirect(PATH)


async def delete_view(visit: Visit) -> Response:
    """Delete a saved view."""
    service, organization_id = visit.service, visit.organization_id
    find = partial(saved_views.find_saved_view, service.db, organization_id, visit.request.path_params["view_id"])
    found = await anyio.to_thread.run_sync(find)
    if found is None:
        raise not_found()
    if not visit.may_change(found.created_by):
        sentence = "You may delete the views that you saved. An owner of your organization may delete any."
        raise Refused(403, "Not yours to do", sentence)
    delete = partial(saved_views.delete_saved_view, service.db, organization_id, visit.actor, found, visit.now)
    await anyio.to_thread.run_sync(delete)
    return pages.redirect(PATH)


async def read_view(visit: Visit) -> ParsedView:
    """Read the view of a form.

    Refused when something in it is wrong: another view must not be taken for it.
    """
    # A range by its name has the days that it has now, which may be others than when the form was shown.
    left_out = {*_OWN_FIELDS, *({Parameter.START, Parameter.END} if visit.form.text(Parameter.PRESET) else ())}
    pairs = [pair for pair in visit.form.fields if pair[0] not in left_out]
    parsed = parse_view(pairs, make_defaults(visit, await load_freshness(visit)))
    if parsed.problems:
        sentences = " ".join(problem.sentence for problem in parsed.problems)
        raise Refused(422, "This view can't be kept", sentences)
    return parsed


async def _show(visit: Visit, status: int = 200, problems: list[str] | None = None) -> Response:
    def write() -> Response:
        return pages.render(visit, "saved.html", status, views=_list_views(visit), problems=problems or [])

    return await write_page(visit, visit.organization_id, write)


def _list_views(visit: Visit) -> list[ListedView]:
    defaults = make_defaults(visit, read_freshness(visit.service.settings.facts_root, visit.now.date()))
    found = saved_views.list_saved_views(visit.service.db, visit.organization_id)
    return [_list_view(visit, saved, defaults) for saved in found]


def _list_view(visit: Visit, saved: SavedView, defaults: Defaults) -> ListedView:
    parsed = parse_view(saved.parameters, defaults)
    if parsed.view.preset is not None:
        return ListedView(saved, parsed, None, visit.may_change(saved.created_by))
    last = defaults.last_day(parsed.view.metrics)
    kept = [pair for pair in parsed.view.params() if pair[0] not in {Parameter.START, Parameter.END}]
    start, end = report_form.shift_days(parsed.view.days, last)
    newest = report_form.write_link([*kept, (Parameter.START, f"{start}"), (Parameter.END, f"{end}")])
    return ListedView(saved, parsed, newest, visit.may_change(saved.created_by))
