"""A bucket of an S3-compatible object store as a file store: whole by what a put is there.

What is written is first a draft on this machine. It is uploaded in parts of which nothing is seen before the last.
An open file is read from one running transfer, mostly.
"""

from __future__ import annotations

import math
import os
import secrets
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError, PreconditionError
from obstore.store import S3Store

from reelport import killpoints
from reelport.errors import StorageError, StoreUnavailable
from reelport.storage.durable import sync_file, translate_io_errors
from reelport.storage.file_cache import FileCache
from reelport.storage.file_store import StoredFile, check_name, is_behind
from reelport.storage.local_folder import LocalFile, LocalFolder
from reelport.storage.retries import (
    FIRST_PAUSE,
    LONGEST_PAUSE,
    MOST_RETRIES,
    ask_again,
    describe_failure,
    describe_outage,
    get_retry_seconds,
    quotes_token,
    shorten_message,
)
from reelport.storage.s3_address import S3Address, find_endpoint, is_loopback

if TYPE_CHECKING:
    from obstore import GetOptions, ObjectMeta

T = TypeVar("T")

_PART_BYTES = 8 << 20
_MOST_PARTS = 9000
"""A store takes 10,000 parts of a file."""
_UPLOADS = 4
"""Parts of one file that are uploaded at the same time, and held in memory."""
_WRITER = "reelport-writer"
"""The attribute that tells which writer put a new file: an answer that was lost doesn't make its file another's."""
_TRIES = 4
_LONGEST_LINK = timedelta(days=7)
_CHUNK_BYTES = 1 << 20
_RESTARTS = 5
"""How often in a row a transfer may break without having brought a byte."""
_MEDIA_TYPES = {".csv": "text/csv; charset=utf-8", ".json": "application/json"}


@lru_cache
def _open_client(address: S3Address, endpoint: str, retry_seconds: float) -> S3Store:
    return S3Store(
        address.bucket,
        prefix=address.prefix or None,
        virtual_hosted_style_request=False,
        disable_bulk_delete=True,
        client_options={
            "allow_http": is_loopback(endpoint),
            "connect_timeout": timedelta(seconds=5),
            # A whole answer may take as long as a slow reader does; a pause in it may not.
            "timeout": timedelta(days=1),
            "read_timeout": timedelta(seconds=30),
        },
        retry_config={
            "max_retries": MOST_RETRIES,
            "backoff": {
                "init_backoff": timedelta(seconds=FIRST_PAUSE),
                "max_backoff": timedelta(seconds=LONGEST_PAUSE),
                "base": 2,
            },
            "retry_timeout": timedelta(seconds=retry_seconds),
        },
    )


@dataclass(frozen=True, slots=True)
class ObjectStore:
    """The files below a prefix of a bucket. Drafts lie in a folder of this machine."""

    address: S3Address
    drafts: LocalFolder
    cache: FileCache
    signs: bool = False
    retry_seconds: float = field(default_factory=get_retry_seconds)
    """For how long a request that the store fails, or leaves without an answer, is sent again."""

    def list_names(self, under: str = "", *, after: str = "") -> Iterator[str]:
        """Yield the name of every file and of this machine's drafts; a thousand a request."""
        return (file.name for file in self._list(under, after))

    def list(self, under: str = "") -> Iterator[StoredFile]:
        """Yield every file, and this machine's drafts: one that is uploaded already comes once."""
        return self._list(under, "")

    def _list(self, under: str, after: str) -> Iterator[StoredFile]:
        if under:
            self._check(under)
        drafts = {draft.name: draft for draft in self.drafts.list(under)}
        yield from (draft for draft in drafts.values() if is_behind(draft.name, after))
        with self._translate_errors(""), self._translate_missing():
            for page in self._list_pages(under, after):
                yield from (file for file in map(_describe, page) if file.name not in drafts)

    def _list_pages(self, under: str, after: str) -> Iterator[Sequence[ObjectMeta]]:
        """Yield the pages of a listing; after a cut answer it goes on behind the last name."""
        pages: Iterator[Sequence[ObjectMeta]] | None = None

        def fetch() -> Sequence[ObjectMeta] | None:
            nonlocal pages
            running = pages or iter(obstore.list(self._client, under or None, offset=after or None))
            pages = None
            page = next(running, None)
            pages = running
            return page

        while (page := self._ask(fetch)) is not None:
            after = page[-1]["path"] if page else after
            yield page

    def find(self, name: str) -> StoredFile | None:
        if (draft := self.drafts.find(name)) is not None:
            return draft
        meta = self._find_meta(name)
        return None if meta is None else _describe(meta)

    def describe(self, name: str) -> str:
        return str(self.address.below(name))

    def open(self, name: str) -> ObjectFile | LocalFile:
        """Open a file. FileNotFoundError without it, StorageError without the bucket."""
        if self.drafts.find(name) is not None:
            return self.drafts.open(name)
        self._check(name)
        try:
            return ObjectFile(self._client, name, f"{self.address}/{name}", self.retry_seconds)
        except FileNotFoundError:
            self._require_bucket()
            raise FileNotFoundError(f"{self.address}/{name}") from None

    def put(self, name: str, content: bytes, *, is_new: bool = False) -> None:
        self._check(name)
        with self._translate_errors(name), self._translate_missing():
            if is_new:
                self._put_new(name, content)
            else:
                self._ask(lambda: obstore.put(self._client, name, content, use_multipart=False))

    def prepare_draft(self, name: str) -> Path:
        return self.drafts.prepare_draft(name)

    def put_draft(self, draft: Path, name: str) -> None:
        """Upload a draft, then delete it. A file so named is whole; a killed upload leaves none."""
        self._check(name)
        killpoints.reach("fsync")
        self._upload(draft, name)
        with translate_io_errors(draft):
            draft.unlink()
        killpoints.reach("rename")

    def upload(self, source: Path, name: str) -> None:
        """Upload a file of this machine, whole or not at all."""
        self._check(name)
        self._upload(source, name)

    def sync(self, *names: str) -> None:
        """Upload those that are drafts, and keep their copies; the others are durable."""
        for name in names:
            self._check(name)
        drafts = [name for name in names if self.drafts.find(name) is not None]
        with ThreadPoolExecutor(_UPLOADS, thread_name_prefix="upload") as pool:
            for path in pool.map(self._upload_draft, drafts):
                killpoints.reach("load-upload")
                self.cache.adopt(path, path.relative_to(self.drafts.root).as_posix())

    def delete(self, name: str) -> None:
        self.drafts.delete(name)
        self.cache.forget(name)
        try:
            with self._translate_errors(name):
                self._ask(lambda: obstore.delete(self._client, name))
        except FileNotFoundError:  # some stores answer so, instead of doing nothing
            self._require_bucket()

    def sign(self, name: str, until: datetime) -> str | None:
        """Make a link of the store, where it signs, good until then; it can't be withdrawn."""
        if not self.signs:
            return None
        self._check(name)
        # A link tells the second of its signing, cut, and counts whole seconds from there: the end goes up.
        whole = math.ceil(until.timestamp()) - math.floor(datetime.now(UTC).timestamp())
        seconds = timedelta(seconds=max(whole, 1))
        with self._translate_errors(name):
            return obstore.sign(self._client, "GET", name, min(seconds, _LONGEST_LINK))

    def local_paths(self, names: Iterable[str]) -> tuple[Path, ...]:
        """Fetch these files into the cache, where `holding` keeps them; return their paths."""
        try:
            return self.cache.fetch(tuple(names), self.open)
        except FileNotFoundError as error:
            raise StorageError(f"{error} is gone") from error

    def fetch_again(self, name: str) -> Path:
        """Fetch a file whose copy was found damaged into its place; return its path."""
        try:
            return self.cache.fetch((name,), self.open, damaged=(name,))[0]
        except FileNotFoundError as error:
            raise StorageError(f"{error} is gone") from error

    @property
    def _client(self) -> S3Store:
        return _open_client(self.address, find_endpoint(os.environ), self.retry_seconds)

    def _ask(self, ask: Callable[[], T]) -> T:
        return ask_again(ask, self.retry_seconds)

    def _find_meta(self, name: str) -> ObjectMeta | None:
        self._check(name)
        try:
            with self._translate_errors(name):
                return obstore.head(self._client, name)
        except FileNotFoundError:
            return None

    def _require_bucket(self) -> None:
        """StorageError without the bucket, which a missing file alone doesn't tell."""
        with self._translate_errors(""), self._translate_missing():
            self._ask(lambda: next(iter(obstore.list(self._client, chunk_size=1)), None))

    @contextmanager
    def _translate_missing(self) -> Iterator[None]:
        """Raise StorageError where a listing or a put misses something: it is the bucket."""
        try:
            yield
        except FileNotFoundError as error:
            raise StorageError(f"{self.address}: the store has no such bucket: make it, or name another") from error

    def _put_new(self, name: str, content: bytes) -> None:
        writer = secrets.token_hex(16)
        for _ in range(_TRIES):
            try:
                self._ask(lambda: self._create(name, content, writer))
            except AlreadyExistsError:
                try:
                    found = obstore.get(self._client, name, options={"head": True})
                except FileNotFoundError:
                    continue  # a store may answer so while another put is under way, of which nothing came
                if found.attributes.get(_WRITER) == writer:
                    return
                raise FileExistsError(f"{self.address}/{name}") from None
            return
        raise StorageError(f"{self.address}/{name}: the store keeps refusing a new file that isn't there")

    def _create(self, name: str, content: bytes, writer: str) -> None:
        attributes = {_WRITER: writer}
        obstore.put(self._client, name, content, mode="create", use_multipart=False, attributes=attributes)

    def _upload_draft(self, name: str) -> Path:
        (draft,) = self.drafts.local_paths([name])
        with translate_io_errors(draft):
            sync_file(draft)  # its copy must be whole even if the machine fails
        self._upload(draft, name)
        return draft

    def _upload(self, draft: Path, name: str) -> None:
        with translate_io_errors(draft):
            size = draft.stat().st_size
        part = max(_PART_BYTES, -(-size // _MOST_PARTS))
        attributes = {
            "Content-Type": _MEDIA_TYPES.get(Path(name).suffix, "application/octet-stream"),
            "Content-Disposition": f'attachment; filename="{Path(name).name}"',
        }

        def send() -> None:
            obstore.put(self._client, name, draft, chunk_size=part, max_concurrency=_UPLOADS, attributes=attributes)

        with self._translate_errors(name):
            self._send_parts(name, send)
        found = self._find_meta(name)
        if found is None or found["size"] != size:
            raise StorageError(f"{self.address}/{name}: the store has {found and found['size']} bytes of {size}")

    def _send_parts(self, name: str, send: Callable[[], object]) -> None:
        """Upload a file in parts; anew where the store doesn't know the upload any more.

        So it answers when its last step is sent again because the answer to it was lost.
        """
        for _ in range(_TRIES):
            try:
                self._ask(send)
            except FileNotFoundError:
                self._require_bucket()
            else:
                return
        raise StorageError(f"{self.address}/{name}: the store keeps forgetting the parts of an upload")

    def _translate_errors(self, name: str) -> AbstractContextManager[None]:
        return _translate_object_errors(f"{self.address}/{name}" if name else str(self.address))

    def _check(self, name: str) -> None:
        check_name(name, str(self.address))


def _describe(meta: ObjectMeta) -> StoredFile:
    modified_at = meta["last_modified"]
    return StoredFile(meta["path"], meta["size"], modified_at, f"{meta['e_tag']}-{modified_at.timestamp()}")


class ObjectFile:
    """A file as it was when it was opened: never a byte of a later one of its name.

    Bytes come from one transfer, which begins with the file's first byte and goes on when the file is deleted or put
    again. A read elsewhere begins another, and so does one after the transfer broke.
    """

    def __init__(self, client: S3Store, name: str, place: str, retry_seconds: float) -> None:
        """Open the file. FileNotFoundError without it."""
        self._client = client
        self._place = place
        self._retry_seconds = retry_seconds
        with _translate_object_errors(place):
            found = ask_again(lambda: obstore.get(client, name), retry_seconds)
        self._meta = found.meta
        self._transfer: Iterator[object] | None = iter(found.stream(_CHUNK_BYTES))
        self._position = 0
        self._waiting = memoryview(b"")

    @property
    def size(self) -> int:
        return self._meta["size"]

    def read(self, position: int, count: int) -> bytes:
        """Read up to `count` bytes from this position; fewer only at the file's end.

        StorageError when another transfer is needed, and the file was deleted or put again.
        """
        if position != self._position:
            self.close()
            self._position = position
        wanted = max(min(count, self.size - position), 0)
        idle = 0
        while len(self._waiting) < wanted:
            fetched = self._fetch()
            idle = 0 if fetched else idle + 1
            if idle > _RESTARTS:
                raise StoreUnavailable(f"{self._place}: the object store ends each transfer before it brings a byte")
            self._waiting = memoryview(bytes(self._waiting) + fetched) if self._waiting else memoryview(fetched)
        return self._take(wanted)

    def read_cached(self, position: int, count: int) -> bytes | None:
        """Read what the transfer has brought already; None when that is elsewhere."""
        return self._take(count) if position == self._position and self._waiting else None

    def close(self) -> None:
        self._transfer, self._waiting = None, memoryview(b"")

    def _take(self, count: int) -> bytes:
        taken, self._waiting = bytes(self._waiting[:count]), self._waiting[count:]
        self._position += len(taken)
        return taken

    def _fetch(self) -> bytes:
        """Fetch the next bytes of the transfer; none when it broke: the next call begins another."""
        if self._transfer is None:
            self._transfer = self._begin_transfer(self._position + len(self._waiting))
        try:
            fetched = next(self._transfer, None)
        except BaseError:
            fetched = None
        if fetched is None:
            self._transfer = None
            return b""
        return bytes(fetched)  # type: ignore[call-overload, no-any-return] # a buffer of the library's own

    def _begin_transfer(self, position: int) -> Iterator[object]:
        options: GetOptions = {"range": {"offset": position}, "if_match": self._meta["e_tag"]}
        with _translate_object_errors(self._place):
            try:
                found = ask_again(
                    lambda: obstore.get(self._client, self._meta["path"], options=options), self._retry_seconds
                )
                return iter(found.stream(_CHUNK_BYTES))
            except (FileNotFoundError, PreconditionError) as error:
                raise StorageError(f"{self._place} was deleted or put again while it was read") from error


@contextmanager
def _translate_object_errors(place: str) -> Iterator[None]:
    """Turn the library's errors into StorageError, or StoreUnavailable, naming the place."""
    try:
        yield
    except BaseError as error:
        message = str(error)
        if (outage := describe_outage(message)) is None:
            line = shorten_message(message)
            is_missing = "<Code>NoSuchBucket</Code>" in line
            told = "the store has no such bucket: make it, or name another" if is_missing else describe_failure(line)
            raise StorageError(f"{place}: {told}") from error
        cause = None if quotes_token(message) else error
        raise StoreUnavailable(f"{place}: {outage}") from cause
