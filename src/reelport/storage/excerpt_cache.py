"""Keeps excerpts of a store's files in its local cache, beside the whole files.

The end of a file, which says where everything lies in it, is kept too. An excerpt's name is its file's with the key
that says what is in it: as a file never changes, no excerpt of a name ever has other bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from reelport.storage.excerpts import Cutter, Excerpt, ExcerptRule, FetchPlan
from reelport.storage.file_cache import FileCache, Open
from reelport.storage.object_excerpt import FileEnd, Identity, RemoteRanges, StreamedFile, open_excerpt

_END_BYTES = 128 << 10
"""The last bytes of a file that are fetched at first: the footer of some fifty row groups."""
_END = ".end"


class _Chosen(NamedTuple):
    """What is to be read of a file: an excerpt."""

    name: str
    identity: Identity
    excerpt: Excerpt


@dataclass(frozen=True, slots=True)
class ExcerptCache:
    """The excerpts in a cache, and how the files that they are of are opened."""

    cache: FileCache
    rule: ExcerptRule
    open_file: Open
    open_ranges: Callable[[str], RemoteRanges]

    def fetch(self, sizes: Mapping[str, int], cutter: Cutter) -> tuple[Path, ...]:
        """Hold and fetch what is wanted: excerpts, or files that are cheaper or there."""
        chosen = self._choose_all(sizes, cutter)
        wanted = {each.name: (name, each) for name, each in chosen.items()}

        def open_chosen(name: str) -> StreamedFile:
            original, each = wanted[name]
            return open_excerpt(self.open_ranges(original), each.identity, each.excerpt)

        targets = [chosen[name].name if name in chosen else name for name in sizes]
        return self.cache.fetch(targets, lambda name: (open_chosen if name in wanted else self.open_file)(name), wanted)

    def plan(self, sizes: Mapping[str, int], cutter: Cutter | None) -> FetchPlan:
        """Plan what `fetch` would fetch, the ends of files aside, which are fetched for it."""
        chosen = {} if cutter is None else self._choose_all(sizes, cutter)
        targets = {name: chosen[name].name if name in chosen else name for name in sizes}
        missing = [name for name, target in targets.items() if not self.cache.has(target)]
        fetched = sum(chosen[name].excerpt.size if name in chosen else sizes[name] for name in missing)
        parts = sum(name in chosen for name in missing)
        return FetchPlan(len(sizes), sum(sizes.values()), len(missing), parts, fetched)

    def _choose_all(self, sizes: Mapping[str, int], cutter: Cutter) -> dict[str, _Chosen]:
        """Choose the files of which excerpts are read."""
        asked = [name for name, size in sizes.items() if self.rule.is_worth(size, 0) and not self.cache.has(name)]
        ends = zip(asked, self._fetch_ends(asked, cutter), strict=True)
        found = {name: self._choose(name, end, cutter) for name, end in ends}
        return {name: each for name, each in found.items() if each is not None}

    def _fetch_ends(self, names: Iterable[str], cutter: Cutter) -> list[FileEnd]:
        """Fetch the ends of files that are not kept yet."""

        def open_end(name: str) -> StreamedFile:
            content = self._read_end(name.removesuffix(_END), cutter).to_bytes()
            return StreamedFile(len(content), iter((content,)))

        ends = [f"{name}{_END}" for name in names]
        paths = self.cache.fetch(ends, open_end, ends)
        return [FileEnd.parse(path.read_bytes()) for path in paths]

    def _read_end(self, name: str, cutter: Cutter) -> FileEnd:
        ranges = self.open_ranges(name)
        identity, end = ranges.read_end(_END_BYTES)
        size = cutter.measure_end(end)
        if size > len(end):
            identity, end = ranges.read_end(min(size, identity.size))
        return FileEnd(identity, end[-size:] if size else b"")

    def _choose(self, name: str, end: FileEnd, cutter: Cutter) -> _Chosen | None:
        """Choose an excerpt of a file, unless all excerpts of it would come to too much of it."""
        excerpt = cutter.cut(end.identity.size, end.description)
        if excerpt is None:
            return None
        chosen = _Chosen(f"{name}.{excerpt.key}", end.identity, excerpt)
        if self.cache.has(chosen.name):
            return chosen
        kept = self.cache.measure_derived(name)
        return chosen if self.rule.is_worth(end.identity.size, excerpt.cost + kept) else None
