"""Forms that make secrets: sent twice, each makes one.

A secret is shown in the answer to a form. Who loads that answer again sends the form again: it must then neither make
a second key nor show the secret.
"""

from __future__ import annotations

from reelport.server import credentials
from reelport.server.access import keys
from reelport.server.access.key_expiry import KeyKind
from reelport.server.studio.refusals import Refused
from reelport.server.studio.visit import Visit

_TICKET = "rpn"


def make_ticket(visit: Visit) -> str:
    """Make the ticket of a form for a new key: the signed id of the key that it will make."""
    return credentials.sign(visit.service.service_secret, _TICKET, keys.draw_key_id().encode(), _context(visit))


def read_ticket(visit: Visit) -> str:
    """Read the id of the key that a form is to make; Refused when the form isn't ours."""
    payload = credentials.read_signed(visit.service.service_secret, _TICKET, visit.form.text("ticket"), _context(visit))
    if payload is None:
        raise Refused(403, "This form is too old", "Go back, load the page anew, and send the form again.")
    return payload.decode()


def sent_before() -> Refused:
    """Return the refusal of a form that was sent before."""
    sentence = "This form was sent before. A secret is shown once: if it is lost, make another one on the key's page."
    return Refused(409, "This was done already", sentence)


def write_environment_file(address: str, key: keys.Key, secret: str) -> str:
    """Write the variables that a client of the key reads, for a file `.env`."""
    lines = [f"REELPORT_URL={address}", f"REELPORT_API_KEY={key.id}", f"REELPORT_API_SECRET={secret}"]
    if key.kind is KeyKind.PUBLIC:
        lines += ["# A public key needs the sign-in of a user, too:", "# REELPORT_USERNAME=", "# REELPORT_PASSWORD="]
    return "\n".join(lines) + "\n"


def _context(visit: Visit) -> str:
    """Return what a ticket is valid for: a ticket of one organization makes no key of another."""
    return str(visit.organization_id)
