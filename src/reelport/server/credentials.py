"""Makes, recognises, hashes and signs ids, secrets and tokens, by the service's secret."""

from __future__ import annotations

import base64
import binascii
import hmac
import os
import secrets
import string
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from reelport.errors import StorageError
from reelport.server.settings import Settings
from reelport.storage.durable import private

SECRET_FILE = "secret.key"  # noqa: S105 - a file's name
"""The file of the service's secret in the data directory, where no setting gives it."""
KEY_ID = "rpk"
KEY_SECRET = "rps"  # noqa: S105 - a prefix, no secret
ACCESS_TOKEN = "rpt"  # noqa: S105 - the same
REPORT_TOKEN = "rpr"  # noqa: S105 - the same
REFRESH_TOKEN = "rpf"  # noqa: S105 - the same

_ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase
_CHECK_LENGTH = 6
_ID_LENGTH = 12
_MIN_SECRET_LENGTH = 32
_SIGNATURE_BYTES = 32
_MAX_SIGNED_LENGTH = 1000
_MOMENT_BYTES = 8


def mint(prefix: str, size: int = 32) -> str:
    """Make a secret of `size` random bytes: prefix, letters and digits, six of checksum."""
    length = -(-size * 8 * 1000 // 5954)  # log2(62) is 5.954
    body = _encode_base62(int.from_bytes(secrets.token_bytes(size)), length)
    return f"{prefix}_{body}{_compute_checksum(prefix, body)}"


def is_well_formed(prefix: str, text: str) -> bool:
    """Whether a text's prefix and checksum are right: finds typing errors at once."""
    head, _, rest = text.partition("_")
    body, check = rest[:-_CHECK_LENGTH], rest[-_CHECK_LENGTH:]
    is_shaped = head == prefix and bool(body) and rest.isascii()
    return is_shaped and hmac.compare_digest(_compute_checksum(prefix, body), check)


def sign(service_secret: ServiceSecret, prefix: str, payload: bytes, context: str = "") -> str:
    """Sign a payload; `read_signed` reads the text, which is valid with the same context only."""
    body = encode_base64(payload + _compute_signature(service_secret, prefix, payload, context))
    return f"{prefix}_{body}{_compute_checksum(prefix, body)}"


def read_signed(service_secret: ServiceSecret, prefix: str, text: str, context: str = "") -> bytes | None:
    """Return the payload of a signed text; None when the signature is wrong."""
    if len(text) > _MAX_SIGNED_LENGTH or not is_well_formed(prefix, text):
        return None
    body = text[len(prefix) + 1 : -_CHECK_LENGTH]
    try:
        whole = base64.b64decode(body + "=" * (-len(body) % 4), altchars=b"-_", validate=True)
    except binascii.Error:
        return None
    if encode_base64(whole) != body:
        return None  # the last letter has unused bits: several texts would decode to the same bytes
    payload, signature = whole[:-_SIGNATURE_BYTES], whole[-_SIGNATURE_BYTES:]
    expected = _compute_signature(service_secret, prefix, payload, context)
    return payload if hmac.compare_digest(signature, expected) else None


def sign_until(service_secret: ServiceSecret, prefix: str, payload: bytes, until: datetime, context: str = "") -> str:
    """Sign a payload that is valid until then: `read_until` reads the text."""
    return sign(service_secret, prefix, int(until.timestamp()).to_bytes(_MOMENT_BYTES) + payload, context)


def read_until(service_secret: ServiceSecret, prefix: str, text: str, now: datetime, context: str = "") -> bytes | None:
    """Return the payload of a text of `sign_until`; None when it is over, or not valid."""
    found = read_signed(service_secret, prefix, text, context)
    if found is None or int.from_bytes(found[:_MOMENT_BYTES]) <= now.timestamp():
        return None
    return found[_MOMENT_BYTES:]


def encode_base64(content: bytes) -> str:
    """Encode bytes as text for URLs, without padding."""
    return base64.urlsafe_b64encode(content).decode().rstrip("=")


def _compute_signature(service_secret: ServiceSecret, prefix: str, payload: bytes, context: str) -> bytes:
    return service_secret.digest(prefix, len(payload).to_bytes(4) + payload + context.encode())


def short_id() -> str:
    """Make a random public id of twelve letters and digits, for logs, links and files."""
    alphabet = string.digits + string.ascii_lowercase
    return "".join(secrets.choice(alphabet) for _ in range(_ID_LENGTH))


def _compute_checksum(prefix: str, body: str) -> str:
    return _encode_base62(binascii.crc32(f"{prefix}_{body}".encode()), _CHECK_LENGTH)


def _encode_base62(number: int, length: int) -> str:
    digits = []
    for _ in range(length):
        number, digit = divmod(number, len(_ALPHABET))
        digits.append(_ALPHABET[digit])
    return "".join(reversed(digits))


@dataclass(frozen=True, slots=True)
class ServiceSecret:
    """The service's secret. A hash for one purpose is valid for no other."""

    _secret: bytes

    def hash(self, purpose: str, text: str) -> str:
        """Return the HMAC-SHA256 of a text in hex, which is stored instead of the text."""
        return self.digest(purpose, text.encode("utf-8", "surrogatepass")).hex()

    def digest(self, purpose: str, content: bytes) -> bytes:
        """Return the 32 bytes of HMAC-SHA256 with the key of that purpose."""
        return hmac.digest(hmac.digest(self._secret, purpose.encode(), "sha256"), content, "sha256")

    @property
    def fingerprint(self) -> str:
        """A hash of the secret, to compare with the one that made the stored hashes."""
        return self.hash("mark", "reelport")

    def __repr__(self) -> str:
        return "ServiceSecret(…)"


def has_service_secret(settings: Settings) -> bool:
    """Whether there is a secret: else `load_service_secret` makes one."""
    return settings.secret is not None or (settings.data / SECRET_FILE).exists()


def load_service_secret(settings: Settings) -> ServiceSecret:
    """Load the service's secret: the setting, else `secret.key`, which the first use creates."""
    if settings.secret is not None:
        return ServiceSecret(settings.secret.text.encode())
    path = settings.data / SECRET_FILE
    try:
        if not path.exists():
            _create_secret(path)
        secret = path.read_bytes().strip()
    except OSError as error:
        raise StorageError(f"{path} can't be read or made: {error.strerror}.") from error
    if len(secret) < _MIN_SECRET_LENGTH:
        raise StorageError(f"{path} is damaged: bring it back from a copy, or remove it and make every key anew.")
    return ServiceSecret(secret)


def _create_secret(path: Path) -> None:
    """Create the file atomically; of two processes one creates it and both read it."""
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
