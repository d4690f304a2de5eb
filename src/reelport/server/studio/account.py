"""Signs in and out, sets passwords by links, and shows the own account.

Opening a link for a password changes nothing, as programs that check mail open every link; sending its form uses it up.
"""

from __future__ import annotations

import hmac
import math
import re
from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import partial
from typing import Any, TypeVar
from urllib.parse import quote, unquote, urlencode

import segno
import structlog
from markupsafe import Markup
from starlette.background import BackgroundTask
from starlette.responses import Response

from reelport.errors import UsageError
from reelport.language import N_, _
from reelport.server.access import oidc, passkeys, password_links, second_factors, sessions
from reelport.server.access.grants import Password
from reelport.server.access.oidc import NoAccess, Provider, ProviderAway, ProviderFailed
from reelport.server.access.passkeys import Answer, Checked, Passkey, Site
from reelport.server.access.password_links import PasswordLink
from reelport.server.access.second_factors import Added
from reelport.server.access.sessions import Halfway, Session
from reelport.server.studio import guard, pages
from reelport.server.studio.guard import Cookie
from reelport.server.studio.languages import load_languages, name_language
from reelport.server.studio.visit import Refused, Visit, begin_attempt, count_wrong_link, not_found
from reelport.storage.s3_address import is_loopback

_TOO_MANY = N_("Too many wrong passwords or codes came from this address: try again later.")
_TOO_MANY_CODES = N_("Too many wrong codes were tried for this user: try again later, and then change the password.")
_WRONG_LOGIN = N_("The e-mail address or the password is wrong.")
_WRONG_PASSKEY = N_("The passkey is not known here, or the page was too old: try again, or use the password.")
_PASSKEY = "passkey"  # stands for a user's address where wrong answers are counted: no address looks like it
_WRONG_CODE = N_("The code or passkey is wrong, was used before, or is too old: wait for the next code, or try again.")
T = TypeVar("T")
_OUR_PATH = re.compile(r"/studio(/[A-Za-z0-9._~/-]*)?(\?[A-Za-z0-9._~!$&'()*+,;=:@%/?-]*)?")


def show_start(visit: Visit) -> Response:
    """Send a signed-in user to the first page, anybody else to the sign-in."""
    return pages.redirect(f"{pages.ROOT}/sign-in" if visit.session is None else pages.find_first_page(visit))


def show_sign_in(visit: Visit) -> Response:
    """Show the form for e-mail address and password."""
    if visit.session is not None:
        return pages.redirect(find_target(visit.request.query_params.get("next", "")))
    response = _show_sign_in(visit, visit.request.query_params.get("next", ""))
    # Whoever is about to sign in looks at numbers next.
    response.background = BackgroundTask(visit.service.explorer.prepare)
    return response


def sign_in(visit: Visit) -> Response:
    """Begin a session; an earlier one of this browser ends."""
    service, next_path = visit.service, visit.form.text("next")
    password = Password(visit.form.text("email"), visit.form.get("password", ""))
    begin_attempt(visit, visit.address, password.stored_email, _TOO_MANY)
    given = password, visit.browser, visit.now
    session = sessions.begin_session(service.db, service.service_secret, *given)
    if session is None:
        response = _show_sign_in(visit, next_path, 403, email=password.email, problem=_(_WRONG_LOGIN))
        return _record_failure(visit, response, password.email)
    service.login_attempts.forgive(visit.address, password.stored_email)
    return enter(visit, session, next_path)


def _record_failure(visit: Visit, response: Response, email: str) -> Response:
    """Record a wrong password or code after the answer: its time must tell nothing of users."""
    given = visit.service.db, Password(email, ""), visit.browser, visit.now
    response.background = BackgroundTask(sessions.record_failure, *given)
    return response


def enter(visit: Visit, session: Session | Halfway, next_path: str) -> Response:
    """Lead a user who has just signed in to a page, or halfway to that of the second factor.

    An earlier session of this browser ends with a new one.
    """
    service = visit.service
    if isinstance(session, Halfway):
        response = pages.redirect(f"{CODE_PATH}?{urlencode({'next': find_target(next_path)})}")
        token = sessions.sign_halfway(service.service_secret, session, visit.now)
        guard.set_cookie(visit, response, Cookie.HALFWAY, token, sessions.HALFWAY_LIFE)
        return response
    if visit.session is not None:
        sessions.end_session(service.db, visit.session, visit.actor, visit.now)
    response = pages.redirect(find_target(next_path))
    guard.set_cookie(visit, response, Cookie.SESSION, session.token, sessions.UNUSED_LIFE)
    guard.set_cookie(visit, response, Cookie.HALFWAY, "", timedelta())
    return response


CODE_PATH = f"{pages.ROOT}/sign-in/code"


def show_code(visit: Visit) -> Response:
    """Show the form for the second factor to a browser in which the password was right."""
    next_path = visit.request.query_params.get("next", "")
    halfway = _read_halfway(visit)
    return _begin_again(next_path) if halfway is None else _show_code(visit, halfway, next_path)


def _show_code(visit: Visit, halfway: Halfway, next_path: str, problem: str = "") -> Response:
    factors = second_factors.read_factors(visit.service.db, halfway.user_id)
    passkey = _prepare_passkey(visit, factors.passkeys) if factors.passkeys else None
    given = {"next_path": next_path, "passkey": passkey, "problems": [problem] if problem else []}
    return pages.render(visit, "sign_in_code.html", 403 if problem else 200, **given)


def sign_in_by_code(visit: Visit) -> Response:
    """Begin a session by the second factor."""
    service, next_path, halfway = visit.service, visit.form.text("next"), _read_halfway(visit)
    if halfway is None:
        return _begin_again(next_path)
    _begin_code(visit, halfway.user_id, halfway.email)
    given = halfway, _read_code(visit), visit.browser, visit.now
    session = second_factors.finish_session(service.db, service.service_secret, *given)
    if session is None:
        return _record_failure(visit, _show_code(visit, halfway, next_path, _(_WRONG_CODE)), halfway.email)
    _forgive_code(visit, halfway.user_id, halfway.email)
    return enter(visit, session, next_path)


def sign_in_by_passkey(visit: Visit) -> Response:
    """Begin a session by a passkey alone: it stands for both factors."""
    service, next_path = visit.service, visit.form.text("next")
    too_many = N_("Too many passkeys that aren't known came from this address: try again later, or use the password.")
    begin_attempt(visit, visit.address, _PASSKEY, too_many)
    checked, session = _check_answer(visit), None
    if checked is not None:
        given = checked, visit.browser, visit.now
        session = second_factors.begin_session_by_passkey(service.db, service.service_secret, *given)
    if session is None:
        return _show_sign_in(visit, next_path, 403, problem=_(_WRONG_PASSKEY))
    visit.service.login_attempts.forgive(visit.address, _PASSKEY)
    return enter(visit, session, next_path)


def _prepare_passkey(visit: Visit, own: Sequence[Passkey] = ()) -> dict[str, Any]:
    site = Site.of(visit.origin)
    challenge = passkeys.make_challenge(visit.service.service_secret, visit.csrf, visit.now)
    needed = {"site": site, "challenge": challenge, "request": passkeys.write_request(site, challenge, own)}
    if visit.session is not None:
        user = visit.user.user_id, visit.user.email
        needed["creation"] = passkeys.write_creation(site, challenge, *user, own)
    return needed


def _read_answer(visit: Visit) -> Answer:
    return Answer(Site.of(visit.origin), visit.csrf, visit.form.text("challenge"), visit.form.get("credential", ""))


def _check_answer(visit: Visit) -> Checked | None:
    return passkeys.check_answer(visit.service.db, visit.service.service_secret, _read_answer(visit), visit.now)


def _read_code(visit: Visit) -> str | Checked:
    """Read the code of a form, or the answer of a passkey; a wrong answer gives a wrong code."""
    return (_check_answer(visit) or "") if visit.form.get("credential", "") else visit.form.text("code")


def _begin_again(next_path: str) -> Response:
    following = f"?{urlencode({'next': find_target(next_path)})}" if next_path else ""
    return pages.redirect(f"{pages.ROOT}/sign-in{following}")


def _read_halfway(visit: Visit) -> Halfway | None:
    token = guard.read_cookie(visit.request, visit.service, Cookie.HALFWAY)
    return sessions.read_halfway(visit.service.service_secret, token, visit.now)


def _begin_code(visit: Visit, user_id: str, email: str) -> None:
    """Count an attempt at a second factor: of the address, and of all addresses.

    Only somebody with the password gets here. So the limit of all addresses locks nobody out whose password is secret.
    """
    begin_attempt(visit, visit.address, email, _TOO_MANY)
    if pause := visit.service.login_attempts.begin_code(user_id):
        visit.service.login_attempts.forgive(visit.address, email)
        raise Refused(429, N_("Too many attempts"), _TOO_MANY_CODES, math.ceil(pause))


def _forgive_code(visit: Visit, user_id: str, email: str) -> None:
    visit.service.login_attempts.forgive(visit.address, email)
    visit.service.login_attempts.forgive_code(user_id)


def sign_out(visit: Visit) -> Response:
    """End this session."""
    sessions.end_session(visit.service.db, visit.user, visit.actor, visit.now)
    return leave(visit)


def _show_sign_in(
    visit: Visit, next_path: str, status: int = 200, *, email: str = "", problem: str = "", done: str = ""
) -> Response:
    is_open = not guard.is_secure(visit.request, visit.service.settings) and not is_loopback(str(visit.request.url))
    given = {"next_path": next_path, "email": email, "problem": problem, "done": done, "without_tls": is_open}
    given |= {"has_provider": visit.service.provider is not None, "left": visit.request.query_params.get("left")}
    given["end_state"] = _make_end_state(visit)
    return pages.render(visit, "sign_in.html", status, passkey=_prepare_passkey(visit), **given)


def find_target(path: str) -> str:
    """Return a path of Studio unchanged; for any other path, and for none, the first page."""
    is_ours = path != pages.ROOT and _OUR_PATH.fullmatch(path) and "//" not in path
    # A browser follows `..` out of Studio.
    return path if is_ours and ".." not in path.partition("?")[0].split("/") else pages.ROOT


_CALLBACK = f"{pages.ROOT}/oidc/callback"
_LONGEST_NEXT = 3000
"""Characters of the page to show after the sign-in, which a cookie keeps: browsers take cookies of 4,096."""
_COUNTED_AS = "provider"  # stands for a user's address where attempts are counted: no address looks like it
_AWAY = 503
_NOT_BEGUN = N_("It began in another browser or more than ten minutes ago, or has ended already: begin again.")
_TOO_MANY_THERE = N_("Too many sign-ins by the provider failed at this address: try again later.")
_LOG = structlog.get_logger(__name__)


def begin_sign_in_there(visit: Visit) -> Response:
    """Send the browser to the provider; a cookie ties the answer to this browser."""
    token = oidc.sign_begun(visit.service.service_secret, visit.now)
    following = quote(find_target(visit.request.query_params.get("next", "")), safe="")
    response = pages.redirect(_ask_provider(_find_provider(visit).begin, token, f"{visit.origin}{_CALLBACK}"))
    kept = f"{token}.{following if len(following) <= _LONGEST_NEXT else ''}"
    guard.set_cookie(visit, response, Cookie.BEGUN, kept, oidc.LIFE)
    return response


def finish_sign_in_there(visit: Visit) -> Response:
    """Begin the session of whom the provider signed in.

    A refusal, too, uses up what the browser kept.
    """
    provider, query = _find_provider(visit), visit.request.query_params
    token, _, following = guard.read_cookie(visit.request, visit.service, Cookie.BEGUN).partition(".")
    if not provider.is_own(token, query.get("state", ""), visit.now):
        raise Refused(400, N_("This sign-in is not valid"), _NOT_BEGUN)
    try:
        response = _enter_from_there(visit, provider, token, unquote(following))
    except Refused as refused:
        response = guard.show_refusal(visit, refused)
    guard.set_cookie(visit, response, Cookie.BEGUN, "", timedelta())
    return response


def _enter_from_there(visit: Visit, provider: Provider, token: str, following: str) -> Response:
    service = visit.service
    begin_attempt(visit, visit.address, _COUNTED_AS, _TOO_MANY_THERE)
    if not oidc.use_begun(service.db, token, visit.now):
        raise Refused(400, N_("This sign-in is not valid"), _NOT_BEGUN)
    answer = dict(visit.request.query_params)
    try:
        identity = _ask_provider(provider.finish, token, answer, f"{visit.origin}{_CALLBACK}")
    except Refused as refused:
        if refused.status == _AWAY:
            service.login_attempts.forgive(visit.address, _COUNTED_AS)
        raise
    service.login_attempts.forgive(visit.address, _COUNTED_AS)
    given = provider, identity, visit.browser, visit.now
    try:
        session = oidc.begin_session(service.db, service.service_secret, *given)
    except NoAccess as error:
        _LOG.warning("the provider's groups give no access", user=identity.email, groups=sorted(identity.groups)[:50])
        raise Refused(403, N_("No access"), str(error)) from None
    if session is None:
        raise Refused(409, N_("That has just changed"), N_("Sign in again."))
    return enter(visit, session, following)


def sign_out_there(visit: Visit) -> Response:
    """Send the browser to where the provider ends its own session.

    By the link of the page that this browser was shown: no page of others signs anybody out.
    """
    back = f"{visit.origin}{pages.ROOT}/sign-in"
    given = visit.request.query_params.get("state", "").encode("utf-8", "replace")
    if not hmac.compare_digest(_make_end_state(visit).encode(), given):
        return pages.redirect(f"{back}?left=provider")
    return pages.redirect(_ask_provider(_find_provider(visit).find_end, back))


def _make_end_state(visit: Visit) -> str:
    return visit.service.service_secret.hash("oidc end", visit.request.state.form_token)


def _find_provider(visit: Visit) -> Provider:
    if visit.service.provider is None:
        raise not_found()
    return visit.service.provider


def _ask_provider(work: Callable[..., T], *given: object) -> T:
    try:
        return work(*given)
    except ProviderFailed as error:
        _LOG.warning("a sign-in by the provider failed", reason=str(error))
        if isinstance(error, ProviderAway):
            sentence = N_("The provider that signs you in doesn't answer: try again in a moment.")
            raise Refused(_AWAY, N_("The provider is away"), sentence, retry_after=30) from error
        sentence = N_("The provider did not sign you in: try again. If it fails again, the service's log says why.")
        raise Refused(403, N_("Not signed in"), sentence) from error


def show_password_form(visit: Visit) -> Response:
    """Show whose password the link sets, and the form for it."""
    return _show_password(visit, _find_link(visit), [])


def set_password(visit: Visit) -> Response:
    """Set the password, which uses up the link and ends every login of the user."""
    link = _find_link(visit)
    if visit.form.get("new", "") != visit.form.get("again", ""):
        return _show_password(visit, link, [_("The two passwords differ.")])
    given = visit.named("token"), visit.form.get("new", ""), visit.address, visit.now
    try:
        used = password_links.set_password(visit.service.db, visit.service.service_secret, *given)
    except UsageError as error:
        return _show_password(visit, link, str(error).splitlines())
    if used is None:
        raise Refused(404, N_("This link is not valid"), _WRONG_LINK)
    done = _("The password is set: sign in with it. The link is used up.")
    return _hide_address(_show_sign_in(visit, "", email=used.email, done=done))


def _find_link(visit: Visit) -> PasswordLink:
    link = password_links.find_link(visit.service.db, visit.service.service_secret, visit.named("token"), visit.now)
    if link is None:
        count_wrong_link(visit)
        raise Refused(404, N_("This link is not valid"), _WRONG_LINK)
    return link


_WRONG_LINK = N_(
    "It may have been used, replaced by a newer one, or be older than three days. Ask an owner of your organization "
    "for another one."
)


def _show_password(visit: Visit, link: PasswordLink, problems: list[str]) -> Response:
    given = {"link": link, "address": visit.request.url.path, "problems": problems}
    return _hide_address(pages.render(visit, "password.html", 400 if problems else 200, **given))


def _hide_address(response: Response) -> Response:
    """Keep the link out of the Referer of every request that the page makes."""
    response.headers["Referrer-Policy"] = "no-referrer"
    return response


PATH = f"{pages.ROOT}/account"
# What is said after a change, by the word in the page's address.
_DONE = {
    "password": N_("The password is changed. Other browsers and programs that used the old one are signed out."),
    "role": N_("Your role is changed."),
    "session": N_("That browser is signed out."),
    "language": N_("The language is changed."),
    "authenticator": N_("The authenticator is removed."),
    "passkey": N_("The passkey is removed."),
    "renamed": N_("The passkey has another name."),
    "added": N_("It is added. Every other browser is signed out."),
}


def show_account(visit: Visit, problems: Sequence[str] = ()) -> Response:
    """Show the user's role and sessions, and the form for another password."""
    found = sessions.list_sessions(visit.service.db, visit.user.user_id, visit.now)
    factors = second_factors.read_factors(visit.service.db, visit.user.user_id)
    done = "" if problems else _(_DONE.get(visit.request.query_params.get("done", ""), ""))
    known = {"sessions": found, "factors": factors, "problems": problems, "done": done}
    languages = {code: name_language(code) for code in load_languages()}
    return pages.render(visit, "account.html", 400 if problems else 200, languages=languages, **known)


def choose_language(visit: Visit) -> Response:
    """Write the user's pages in one language, or in that of each browser."""
    language = visit.form.text("language")
    sessions.choose_language(visit.service.db, visit.user, language if language in load_languages() else None)
    return pages.redirect(f"{PATH}?done=language")


def change_password(visit: Visit) -> Response:
    """Change the user's password; this session goes on, every other login ends."""
    service, form = visit.service, visit.form
    if form.get("new", "") != form.get("again", ""):
        return show_account(visit, [_("The two new passwords differ.")])
    begin_attempt(visit, visit.address, visit.user.email, _TOO_MANY)
    given = form.get("current", ""), form.get("new", ""), visit.actor, visit.now
    try:
        is_right = sessions.change_own_password(service.db, visit.user, *given)
    except UsageError as error:
        service.login_attempts.forgive(visit.address, visit.user.email)
        return show_account(visit, str(error).splitlines())
    if not is_right:
        wrong = show_account(visit, [_("The current password is wrong.")])
        return _record_failure(visit, wrong, visit.user.email)
    service.login_attempts.forgive(visit.address, visit.user.email)
    return pages.redirect(f"{PATH}?done=password")


AUTHENTICATOR_PATH = f"{PATH}/authenticator"


def add_authenticator(visit: Visit) -> Response:
    """Add the offered authenticator, and show the recovery codes once, in a new session."""
    form = visit.form
    given = form.text("offer"), form.get("password", ""), form.text("code")
    sentence = N_("The password or the code is wrong. If both are right, set the clock of the telephone.")
    return _add_factor(visit, second_factors.add_authenticator, given, sentence, form.text("offer"))


def add_passkey(visit: Visit) -> Response:
    """Add a passkey in a new session; show recovery codes once if it is the first factor."""
    given = _read_answer(visit), visit.form.get("password", ""), visit.form.text("name")
    sentence = N_("The password is wrong, or the passkey can't be added: try again.")
    return _add_factor(visit, second_factors.add_passkey, given, sentence)


def _add_factor(
    visit: Visit, add: Callable[..., Added | None], given: tuple[object, ...], problem: str, offer: str = ""
) -> Response:
    service = visit.service
    _begin_code(visit, visit.user.user_id, visit.user.email)
    known = *given, visit.browser, visit.now
    try:
        added = add(service.db, service.service_secret, visit.user, *known)
    except UsageError as error:
        added, problem = None, str(error)
    if added is None:
        return show_authenticator(visit, _(problem), offer)
    _forgive_code(visit, visit.user.user_id, visit.user.email)
    session, codes = added
    visit = guard.make_visit(visit.request, visit.service, session)
    there = pages.redirect(f"{AUTHENTICATOR_PATH}?done=added")
    response = show_authenticator(visit, codes=codes) if codes else there
    guard.set_cookie(visit, response, Cookie.SESSION, session.token, sessions.UNUSED_LIFE)
    return response


def rename_passkey(visit: Visit) -> Response:
    """Give a passkey another name."""
    given = visit.user.user_id, visit.named("passkey"), visit.form.text("name")
    if not passkeys.rename_passkey(visit.service.db, *given):
        raise not_found()
    return pages.redirect(f"{AUTHENTICATOR_PATH}?done=renamed")


def remove_passkey(visit: Visit) -> Response:
    """Remove a passkey, by a code or the answer of a passkey."""
    if _use_code(visit, partial(second_factors.remove_factor, passkey_id=visit.form.text("passkey"))):
        return pages.redirect(f"{AUTHENTICATOR_PATH}?done=passkey")
    return show_authenticator(visit, _(_WRONG_CODE))


def remove_authenticator(visit: Visit) -> Response:
    """Remove the authenticator, by a code of it or a recovery code."""
    if _use_code(visit, second_factors.remove_factor):
        return pages.redirect(f"{AUTHENTICATOR_PATH}?done=authenticator")
    return show_authenticator(visit, _(_WRONG_CODE))


def make_recovery_codes(visit: Visit) -> Response:
    """Make recovery codes in place of the earlier ones, and show them once."""
    codes = _use_code(visit, second_factors.make_recovery_codes)
    return show_authenticator(visit, "" if codes else _(_WRONG_CODE), codes=codes or ())


def _use_code(visit: Visit, change: Callable[..., T]) -> T:
    service, user = visit.service, visit.user
    _begin_code(visit, user.user_id, user.email)
    changed = change(service.db, service.service_secret, user, _read_code(visit), visit.actor, visit.now)
    if changed:
        _forgive_code(visit, user.user_id, user.email)
    return changed


def show_authenticator(visit: Visit, problem: str = "", token: str = "", codes: Sequence[str] = ()) -> Response:
    """Offer an authenticator, or show the forms of the one that the user has."""
    service, user = visit.service, visit.user
    factors = second_factors.read_factors(service.db, user.user_id)
    offer = second_factors.offer_authenticator(service.service_secret, user, token)
    passkey = _prepare_passkey(visit, factors.passkeys)
    done = "" if problem else _(_DONE.get(visit.request.query_params.get("done", ""), ""))
    # Black on white in a dark page too: not every telephone reads the negative.
    picture = Markup(segno.make(offer.address, error="m").svg_inline(scale=5, light="#fff"))  # noqa: S704 - digits alone
    given = {"factors": factors, "offer": offer, "picture": picture, "passkey": passkey, "done": done, "codes": codes}
    problems = [problem] if problem else []
    return pages.render(visit, "authenticator.html", 403 if problem else 200, problems=problems, **given)


def end_session(visit: Visit) -> Response:
    """End one of the user's sessions."""
    db, wanted = visit.service.db, visit.named("session")
    own = sessions.list_sessions(db, visit.user.user_id, visit.now)
    found = next((each for each in own if each.id == wanted), None)
    if found is None:
        raise not_found()
    sessions.end_session(db, found, visit.actor, visit.now)
    if found.id == visit.user.id:
        return leave(visit)
    return pages.redirect(f"{PATH}?done=session")


def sign_out_everywhere(visit: Visit) -> Response:
    """End every session of the user, this one too, and every token of public keys."""
    sessions.sign_out_everywhere(visit.service.db, visit.user, visit.actor, visit.now)
    return leave(visit)


def leave(visit: Visit) -> Response:
    """Show the sign-in to a user whose session ended, and make the browser forget it."""
    left = "?left=provider" if visit.user.is_by_provider else ""  # which offers to end the provider's session, too
    response = pages.redirect(f"{pages.ROOT}/sign-in{left}")
    guard.set_cookie(visit, response, Cookie.SESSION, "", timedelta())
    return response
