"""Forms that Studio's pages send: URL-encoded bodies within bounds."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import parse_qsl

from starlette.requests import Request

from reelport.server.http.service import Service
from reelport.server.studio.refusals import Refused

_LONGEST = 65_536
_FIELDS = 1000


@dataclass(frozen=True, slots=True)
class Form:
    """The fields of a form, in their order; a name may come several times."""

    fields: tuple[tuple[str, str], ...] = ()

    def text(self, name: str, default: str = "") -> str:
        """Return the first value of a name, without blanks around it."""
        return next((value.strip() for each, value in self.fields if each == name), default)

    def raw(self, name: str) -> str:
        """Return the first value of a name as it came: blanks belong to a password."""
        return next((value for each, value in self.fields if each == name), "")

    def texts(self, name: str) -> tuple[str, ...]:
        """Return every value of a name: of checkboxes, those that are on."""
        return tuple(value for each, value in self.fields if each == name)

    def has(self, name: str) -> bool:
        """Whether a field came at all: a button that was pressed, a checkbox that is on."""
        return any(each == name for each, _ in self.fields)


async def read_form(request: Request) -> Form:
    """Read a form. Refused when it is too long, or can't be read."""
    service: Service = request.app.state.service
    with service.forms.hold(request.client.host if request.client else "") as pending:
        body = await pending.read(request, _LONGEST)
    if pending.dropped:
        raise Refused(503, "Too much at once", "Too many requests are coming in at once: try again.", retry_after=5)
    if body is None:
        raise Refused(413, "Too long", f"What was sent is longer than {_LONGEST:,} bytes.")
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/x-www-form-urlencoded" and body:
        raise Refused(415, "Not a form", "Send the page's own form.")
    try:
        fields = parse_qsl(body.decode(), keep_blank_values=True, errors="strict", max_num_fields=_FIELDS)
    except ValueError:
        raise Refused(400, "Not a form", "What was sent can't be read as a form.") from None
    return Form(tuple(fields))
