"""Signs people in by an OpenID Connect provider: authorization code with PKCE.

The browser keeps a signed token for ten minutes. State, nonce and verifier are derived from it: an answer counts in the
browser that began, and in no other. At each sign-in the provider's groups decide the role. Nobody who comes by the
provider takes over an account that it did not make.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import quote_plus, unquote, urlencode, urlsplit

import anyio
import structlog
from sqlalchemy import Connection, Engine, Row, select
from sqlalchemy.exc import IntegrityError

from reelport.errors import ServiceError
from reelport.language import N_, _
from reelport.server import credentials
from reelport.server.access import audit_log, sessions, users
from reelport.server.access.audit_log import Action, Actor
from reelport.server.access.callers import clean_text
from reelport.server.access.login_attempts import use_once
from reelport.server.access.organizations import lock_organization
from reelport.server.access.people import set_role
from reelport.server.access.roles import Role
from reelport.server.access.second_factors import has_factor
from reelport.server.access.sessions import BY_PROVIDER, Browser, Halfway, Session
from reelport.server.access.withdrawn_links import end_links_of
from reelport.server.credentials import ServiceSecret
from reelport.server.settings import Settings
from reelport.server.state.database import writing
from reelport.server.state.tables import ORGANIZATIONS, SESSIONS, USERS

if TYPE_CHECKING:
    from joserfc.jwk import KeySet

_LOG = structlog.get_logger(__name__)
LIFE = timedelta(minutes=10)
"""How long after the start the provider may send the browser back."""
_PREFIX = "rpi"
_SEED_BYTES = 24
_ALGORITHMS = ["RS256", "PS256", "ES256", "EdDSA", "Ed25519"]
"""Signatures that need a private key of the provider: neither none, nor one that the client's secret makes."""
_KEY_TYPES = frozenset({"RSA", "EC", "OKP"})
_SECONDS, _KEPT_SECONDS, _LEEWAY_SECONDS = 5.0, 600.0, 60
_LARGEST_ANSWER = 1_048_576
_LONGEST_SUBJECT = 255
"""Characters of a subject (OpenID Connect Core, section 2)."""
_CALLS = 4
"""Sign-ins that wait for the provider at the same time: while it is slow, only they wait."""
_GROUPS = "groups"
_OK, _SERVER_FAILED = 200, 500


class ProviderFailed(ServiceError):
    """The provider's answer is not right."""


class ProviderAway(ProviderFailed):
    """The provider doesn't answer."""


class NoAccess(ServiceError):
    """The provider signed somebody in who gets no access here. The sentence is for that person."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Whom the provider has signed in. `subject` names one person for ever, with the issuer."""

    subject: str
    email: str
    groups: frozenset[str]


@dataclass(frozen=True, slots=True)
class Granted:
    """What a group gives: a role in an organization, or with None that of an operator."""

    organization: str | None
    role: Role


def parse_groups(text: str) -> dict[str, Granted]:
    """Parse the setting of groups. The first group that a person is in decides.

    Of a group that is named twice the first grant counts.
    """
    found: dict[str, Granted] = {}
    for part in filter(None, (each.strip() for each in text.split(","))):
        group, _sign, grant = part.partition("=")
        organization, _sign, role = grant.rpartition(":")
        found.setdefault(group.strip(), Granted(organization.strip() or None, Role(role)))
    return found


@dataclass(frozen=True, slots=True)
class Provider:
    """The provider by which people sign in.

    It keeps the provider's description and keys for ten minutes. Its methods call the provider, and block for some
    seconds at most. ProviderFailed says what was wrong, for the log.
    """

    issuer: str
    client_id: str
    groups: Mapping[str, Granted]
    _secret: str = field(repr=False)
    _service_secret: ServiceSecret
    calls: anyio.CapacityLimiter = field(default_factory=lambda: anyio.CapacityLimiter(_CALLS))
    _kept: dict[str, tuple[float, dict[str, Any]]] = field(default_factory=dict)

    @classmethod
    def of(cls, settings: Settings, service_secret: ServiceSecret) -> Provider | None:
        """Return the provider of the settings; None where they name none."""
        if not settings.oidc_url:
            return None
        address = urlsplit(settings.oidc_url)
        issuer = address._replace(netloc=address.netloc.rpartition("@")[2]).geturl()
        client_id, secret = unquote(address.username or ""), unquote(address.password or "")
        return cls(issuer, client_id, parse_groups(settings.oidc_groups), secret, service_secret)

    def begin(self, token: str, redirect_uri: str) -> str:
        """Find the address at the provider for a browser that keeps this token of `sign_begun`."""
        description = self._describe()
        known = _list(description, "scopes_supported")
        challenge = hashlib.sha256(self._derive("verifier", token).encode()).digest()
        asked = {
            "response_type": "code",
            "client_id": self.client_id,
            "redirect_uri": redirect_uri,
            "scope": " ".join(["openid", "email", *([_GROUPS] if _GROUPS in known else [])]),
            "state": self._derive("state", token),
            "nonce": self._derive("nonce", token),
            "code_challenge": credentials.encode_base64(challenge),
            "code_challenge_method": "S256",
        }
        return _add_query(self._find_address("authorization_endpoint"), asked)

    def is_own(self, token: str, state: str, now: datetime) -> bool:
        """Whether a state is that of a sign-in which began with this token, not too long ago."""
        if credentials.read_until(self._service_secret, _PREFIX, token, now) is None:
            return False
        return hmac.compare_digest(self._derive("state", token).encode(), state.encode("utf-8", "replace"))

    def finish(self, token: str, answer: Mapping[str, str], redirect_uri: str) -> Identity:
        """Find whom the provider signed in, by its answer. Check `is_own` before."""
        description = self._describe()
        names_itself = description.get("authorization_response_iss_parameter_supported", False)
        if answer.get("iss", "" if names_itself else self.issuer) != self.issuer:  # RFC 9207
            raise ProviderFailed(f"The answer is of another provider: {clean_text(answer.get('iss', ''))[:200]!r}.")
        if "code" not in answer:
            raise ProviderFailed(f"The provider refused: {clean_text(answer.get('error', 'no code'))[:200]!r}.")
        granted = self._redeem(answer["code"], self._derive("verifier", token), redirect_uri)
        claims = self._read_id_token(str(granted.get("id_token", "")), self._derive("nonce", token))
        if "userinfo_endpoint" in description and not claims.keys() >= {"email", _GROUPS}:
            claims = self._read_userinfo(str(granted.get("access_token", "")), claims["sub"]) | claims
        email = claims.get("email")
        email = users.normalize_email(clean_text(email)) if isinstance(email, str) else ""
        if users.find_email_problems(email) or claims.get("email_verified", True) not in (True, "true"):
            raise ProviderFailed(f"The provider gave no e-mail address that it has verified: {email[:200]!r}.")
        groups = claims.get(_GROUPS) or ()
        return Identity(claims["sub"], email, frozenset(map(str, groups if isinstance(groups, list) else [groups])))

    def find_end(self, redirect_uri: str) -> str:
        """Find the address that ends the provider's session; without one, `redirect_uri`."""
        if "end_session_endpoint" not in self._describe():
            return redirect_uri
        asked = {"client_id": self.client_id, "post_logout_redirect_uri": redirect_uri}
        return _add_query(self._find_address("end_session_endpoint"), asked)

    def _derive(self, part: str, token: str) -> str:
        return self._service_secret.hash(f"oidc {part}", token)

    def _redeem(self, code: str, verifier: str, redirect_uri: str) -> dict[str, Any]:
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": redirect_uri}
        form["code_verifier"] = verifier
        methods, auth = _list(self._describe(), "token_endpoint_auth_methods_supported"), None
        if self._secret and ("client_secret_basic" in methods or not methods):
            auth = quote_plus(self.client_id), quote_plus(self._secret)  # RFC 6749, section 2.3.1
        else:
            form |= {"client_id": self.client_id, **({"client_secret": self._secret} if self._secret else {})}
        return _ask("POST", self._find_address("token_endpoint"), data=form, auth=auth)

    def _read_id_token(self, token: str, nonce: str) -> dict[str, Any]:
        """Check an identity by the provider's keys, if need be by newly read ones."""
        from joserfc.errors import JoseError  # noqa: PLC0415 - loads cryptography: only where a provider signs in

        for is_last in (False, True):
            try:
                return self._check_id_token(token, nonce, self._keep(self._find_address("jwks_uri"), is_new=is_last))
            except (JoseError, ValueError, TypeError, KeyError) as error:
                if is_last:
                    raise ProviderFailed(f"The identity is not valid: {error}.") from error
        raise AssertionError

    def _check_id_token(self, token: str, nonce: str, found: Mapping[str, Any]) -> dict[str, Any]:
        from joserfc import jwt  # noqa: PLC0415 - see above
        from joserfc.jws import JWSRegistry  # noqa: PLC0415 - see above

        rules = jwt.JWTClaimsRegistry(
            leeway=_LEEWAY_SECONDS,
            iss={"essential": True, "value": self.issuer},
            aud={"essential": True, "value": self.client_id},
            azp={"value": self.client_id},
            nonce={"essential": True, "value": nonce},
            sub={"essential": True},
            exp={"essential": True},
            iat={"essential": True},
        )
        registry = JWSRegistry(algorithms=_ALGORITHMS, strict_check_header=False)
        claims = jwt.decode(token, _read_keys(found["keys"]), registry=registry).claims
        rules.validate(claims)
        if len(claims["sub"]) > _LONGEST_SUBJECT or not claims["sub"].isprintable():
            raise ValueError("sub is too long, or not printable")
        return dict(claims)

    def _read_userinfo(self, token: str, subject: str) -> dict[str, Any]:
        found = _ask("GET", self._find_address("userinfo_endpoint"), headers={"Authorization": f"Bearer {token}"})
        if found.get("sub") != subject:
            raise ProviderFailed("The provider tells of somebody else than it signed in.")
        return found

    def _describe(self) -> dict[str, Any]:
        found = self._keep(f"{self.issuer.rstrip('/')}/.well-known/openid-configuration")
        if found.get("issuer") != self.issuer:
            raise ProviderFailed(f"The provider calls itself {found.get('issuer')!r}, and not {self.issuer!r}.")
        return found

    def _find_address(self, name: str) -> str:
        found = str(self._describe().get(name, ""))
        try:
            parts = urlsplit(found)
            is_right = parts.scheme == urlsplit(self.issuer).scheme and bool(parts.hostname) and parts.port != 0
        except ValueError:
            is_right = False
        if not (is_right and found.isascii() and found.isprintable()):
            raise ProviderFailed(f"The provider's {name} is not an address like its own: {found[:200]!r}.")
        return found

    def _keep(self, address: str, *, is_new: bool = False) -> dict[str, Any]:
        read_at, found = self._kept.get(address, (0.0, {}))
        if is_new or not found or time.monotonic() - read_at > _KEPT_SECONDS:
            found = _ask("GET", address)
            self._kept[address] = time.monotonic(), found
        return found


def _read_keys(given: list[Mapping[str, Any]]) -> KeySet:
    """Read the keys that sign identities; one that can't be read is ignored (RFC 7517, 5)."""
    from joserfc.errors import JoseError  # noqa: PLC0415 - loads cryptography: only where a provider signs in
    from joserfc.jwk import JWKRegistry, KeySet  # noqa: PLC0415 - see above

    keys = []
    for key in given:
        try:
            if key["kty"] in _KEY_TYPES and key.get("use", "sig") == "sig":
                keys.append(JWKRegistry.import_key(dict(key)))
        except (JoseError, ValueError, TypeError, KeyError) as error:
            _LOG.warning("a key of the provider can't be read", reason=str(error))
    return KeySet(keys)


def sign_begun(service_secret: ServiceSecret, now: datetime) -> str:
    """Sign what a browser keeps of a sign-in that begins, for ten minutes."""
    return credentials.sign_until(service_secret, _PREFIX, secrets.token_bytes(_SEED_BYTES), now + LIFE)


def use_begun(db: Engine, token: str, now: datetime) -> bool:
    """Use up what a browser keeps of a sign-in; False if an answer has used it already."""
    with writing(db) as connection:
        return use_once(connection, token, LIFE, now)


def _ask(method: str, address: str, headers: Mapping[str, str] | None = None, **given: Any) -> dict[str, Any]:  # noqa: ANN401 - as httpx2 takes them
    """Ask for an object of JSON of at most a megabyte."""
    import httpx2  # noqa: PLC0415 - only where a provider signs in

    plain = {"Accept": "application/json", "Accept-Encoding": "identity", **(headers or {})}

    async def fetch() -> tuple[int, bytes]:
        body = b""
        # The client's timeouts are those of each read: an answer that comes byte by byte would never end.
        with anyio.fail_after(2 * _SECONDS):
            async with (
                httpx2.AsyncClient(timeout=_SECONDS) as client,
                client.stream(method, address, headers=plain, **given) as answer,
            ):
                async for part in answer.aiter_raw():
                    body += part
                    if len(body) > _LARGEST_ANSWER:
                        raise ProviderFailed(f"The answer of {address} is too long.")
                return answer.status_code, body

    try:
        status, body = anyio.run(fetch)
    except (httpx2.TransportError, OSError) as error:
        raise ProviderAway(f"{address} doesn't answer: {error}") from error
    except (httpx2.HTTPError, httpx2.InvalidURL, ValueError) as error:
        raise ProviderFailed(f"{address} can't be asked: {error}") from error
    shown = body[:300].decode(errors="replace")
    if status >= _SERVER_FAILED:
        raise ProviderAway(f"{address} answers {status}: {shown!r}")
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        found = None
    if status != _OK or not isinstance(found, dict):
        raise ProviderFailed(f"{address} answers {status}: {shown!r}")
    return found


def _list(found: Mapping[str, Any], name: str) -> list[object]:
    value = found.get(name)
    return value if isinstance(value, list) else []


def _add_query(address: str, asked: Mapping[str, str]) -> str:
    return f"{address}{'&' if '?' in address else '?'}{urlencode(asked)}"


def begin_session(
    db: Engine,
    service_secret: ServiceSecret,
    provider: Provider,
    identity: Identity,
    browser: Browser,
    now: datetime,
) -> Session | Halfway | None:
    """Begin the session of whom a provider signed in; the first time, add the user.

    Halfway for a user with a second factor. None if the person signs in elsewhere at this moment: try again. NoAccess
    if no group gives a role, or the address is another account's. A user who had a role before loses every login then,
    and the links to views.
    """
    granted = next((grant for name, grant in provider.groups.items() if name in identity.groups), None)
    subject = f"{provider.issuer}\n{identity.subject}"
    try:
        with writing(db) as connection:
            found = _begin(connection, service_secret, subject, identity, granted, browser, now)
    except IntegrityError:  # the same person signs in twice at this moment
        return None
    if isinstance(found, str):
        raise NoAccess(_(found, email=identity.email))
    return found


def _begin(
    connection: Connection,
    service_secret: ServiceSecret,
    subject: str,
    identity: Identity,
    granted: Granted | None,
    browser: Browser,
    now: datetime,
) -> Session | Halfway | str | None:
    """Begin the session, or return why there is none.

    The sentence is not translated yet: this may run in another visit's thread.
    """
    holder = None
    if granted is not None and granted.organization is not None:
        if connection.execute(select(ORGANIZATIONS.c.id).where(ORGANIZATIONS.c.name == granted.organization)).first():
            holder = lock_organization(connection, granted.organization)
        else:
            granted = None
    known = connection.execute(select(USERS).where(USERS.c.subject == subject).with_for_update()).first()
    actor = Actor(identity.email if known is None else known.email, browser.address)
    if known is not None and (granted is None or known.organization_id != (holder.id if holder else None)):
        _withdraw(connection, known, actor, now)
        return N_("Your groups at the provider give you no access to this account any more: ask who manages them.")
    if granted is None:
        return N_("None of your groups at the provider gives you access here: ask who manages them.")
    if known is None:
        taken = connection.execute(select(USERS.c.subject).where(USERS.c.email == identity.email)).first()
        if taken is not None and taken.subject == subject:
            return None  # the same person has just been added
        if taken is not None:
            return N_("%(email)s has an account here that the provider did not make: sign in by its password.")
        new = users.insert_user(connection, holder, identity.email, granted.role, users.NO_PASSWORD, now)
        connection.execute(USERS.update().where(USERS.c.id == new.id).values(subject=subject))
        details = {"role": granted.role.value, **BY_PROVIDER}
        audit_log.record_action(connection, new.organization_id, actor, Action.USER_ADDED, new.email, now, details)
        halfway = Halfway(new.id, new.epoch, new.email)
    else:
        set_role(connection, known, granted.role, actor, now, BY_PROVIDER)
        halfway = Halfway(known.id, known.epoch, known.email)
        if has_factor(connection, known.id):
            return halfway
    return sessions.insert_session(connection, service_secret, halfway, browser, now, BY_PROVIDER)


def _withdraw(connection: Connection, known: Row[*tuple[Any, ...]], actor: Actor, now: datetime) -> None:
    had_session = connection.execute(select(SESSIONS.c.id).where(SESSIONS.c.user_id == known.id)).first() is not None
    users.end_logins(connection, known.id)
    of = known.organization_id
    links = 0 if of is None else end_links_of(connection, of, known.email, now)
    details = {**BY_PROVIDER, **users.describe_links(links)}
    if had_session or links:
        audit_log.record_action(connection, of, actor, Action.SIGN_IN_FAILED, known.email, now, details)
    else:  # nothing ends: whoever comes again and again must not fill the log
        sessions.insert_failure(connection, of, actor, now, details)
