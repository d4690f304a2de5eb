"""Routes that match a path as it is, and no other one."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Collection

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route


class ExactRoute(Route):
    """A route of one path.

    Starlette's own takes a path with a line feed at its end for the path without it: a proxy's rule for `/metrics`
    doesn't know `/metrics%0A`, and lets it pass.
    """

    def __init__(
        self, path: str, endpoint: Callable[[Request], Awaitable[Response]], *, methods: Collection[str]
    ) -> None:
        super().__init__(path, endpoint, methods=methods)
        self.path_regex = re.compile(self.path_regex.pattern.removesuffix("$") + r"\Z")
