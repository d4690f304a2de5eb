"""Ids, secrets and tokens: how they are made, recognised, hashed and signed with the service's own secret.

It refuses to know who holds which.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import os
import secrets
import string
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from reelport.errors import StorageError
from reelport.facts.modes import private
from reelport.server.settings import Settings

KEY_ID = "rpk"
KEY_SECRET = "rps"  # noqa: S105 - a prefix, no secret
ACCESS_TOKEN = "rpt"  # noqa: S105 - the same
REPORT_TOKEN = "rpr"  # noqa: S105 - the same

_ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase
_CHECK_LENGTH = 6
_ID_LENGTH = 12
_LEAST_SECRET = 32
_SIGNATURE_BYTES = 32
_LONGEST_SIGNED = 1000


def mint(prefix: str, size: int = 32) -> str:
    """A new secret of `size` random bytes: prefix, digits and letters, six characters of checksum."""
    length = -(-size * 8 * 1000 // 5954)  # log2(62) is 5.954
    body = _base62(int.from_bytes(secrets.token_bytes(size)), length)
    return f"{prefix}_{body}{_checksum(prefix, body)}"


def is_well_formed(prefix: str, text: str) -> bool:
    """Whether `text` could have been minted: a slip of the pen is told without a look at any record."""
    head, _, rest = text.partition("_")
    body, check = rest[:-_CHECK_LENGTH], rest[-_CHECK_LENGTH:]
    return head == prefix and bool(body) and rest.isascii() and hmac.compare_digest(_checksum(prefix, body), check)


def sign(service_secret: ServiceSecret, prefix: str, said: bytes, context: str = "") -> str:
    """A text that carries `said` and its signature: ours alone can be made, and `said_by` reads it.

    `context` isn't carried, but the text is good only where it is the same.
    """
    body = _base64(said + _signature(service_secret, prefix, said, context))
    return f"{prefix}_{body}{_checksum(prefix, body)}"


def read_signed(service_secret: ServiceSecret, prefix: str, text: str, context: str = "") -> bytes | None:
    """What a signed text carries; None when it isn't one of ours."""
    if len(text) > _LONGEST_SIGNED or not is_well_formed(prefix, text):
        return None
    body = text[len(prefix) + 1 : -_CHECK_LENGTH]
    try:
        whole = base64.b64decode(body + "=" * (-len(body) % 4), altchars=b"-_", validate=True)
    except binascii.Error:
        return None
    if _base64(whole) != body:
        return None  # its last letter has bits that nothing stands for: another text would say the same
    said, signature = whole[:-_SIGNATURE_BYTES], whole[-_SIGNATURE_BYTES:]
    return said if hmac.compare_digest(signature, _signature(service_secret, prefix, said, context)) else None


def _base64(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).decode().rstrip("=")


def _signature(service_secret: ServiceSecret, prefix: str, said: bytes, context: str) -> bytes:
    return service_secret.digest(prefix, len(said).to_bytes(4) + said + context.encode())


def short_id() -> str:
    """A public name of twelve letters and digits, for logs, links and file names; no secret."""
    alphabet = string.digits + string.ascii_lowercase
    return "".join(secrets.choice(alphabet) for _ in range(_ID_LENGTH))


def _checksum(prefix: str, body: str) -> str:
    return _base62(binascii.crc32(f"{prefix}_{body}".encode()), _CHECK_LENGTH)


def _base62(number: int, length: int) -> str:
    digits = []
    for _ in range(length):
        number, digit = divmod(number, len(_ALPHABET))
        digits.append(_ALPHABET[digit])
    return "".join(reversed(digits))


@lru_cache(maxsize=32)
def _key(secret: bytes, purpose: str) -> bytes:
    return hmac.digest(secret, purpose.encode(), "sha256")


@dataclass(frozen=True, slots=True)
class ServiceSecret:
    """The service's secret at work. Each purpose has a key of its own, so that no hash serves for another."""

    _secret: bytes

    def hash(self, purpose: str, text: str) -> str:
        """What is stored instead of `text`: HMAC-SHA256, in hex."""
        return self.digest(purpose, text.encode("utf-8", "surrogatepass")).hex()

    def digest(self, purpose: str, content: bytes) -> bytes:
        """The 32 bytes of HMAC-SHA256 under the key of that purpose."""
        return hmac.digest(_key(self._secret, purpose), content, "sha256")

    def matches(self, purpose: str, text: str, stored: str | None) -> bool:
        """Whether `stored` is the hash of `text`, in the same time whatever the answer, and when nothing is stored."""
        return hmac.compare_digest(self.hash(purpose, text), stored or "0" * 64)

    @property
    def fingerprint(self) -> str:
        """What is the same for the same secret, and for no other."""
        return self.hash("mark", "reelport")

    def __repr__(self) -> str:
        return "ServiceSecret(…)"


def load_service_secret(settings: Settings) -> ServiceSecret:
    """The seal of this service: from the setting, else from `secret.key`, which is made at the first use."""
    if settings.secret is not None:
        return ServiceSecret(settings.secret.text.encode())
    path = settings.data / "secret.key"
    try:
        if not path.exists():
            _make(path)
        secret = path.read_bytes().strip()
    except OSError as error:
        raise StorageError(f"{path} can't be read or made: {error.strerror}.") from error
    if len(secret) < _LEAST_SECRET:
        raise StorageError(f"{path} is damaged: bring it back from a copy, or remove it and make every key anew.")
    return ServiceSecret(secret)


def _make(path: Path) -> None:
    """Make the file whole or not at all; of two processes at the same moment one makes it and both read it."""
    with private():
        path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{short_id()}")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(secrets.token_hex(32) + "\n")
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(draft, path)
    except FileExistsError:
        return
    finally:
        draft.unlink()
