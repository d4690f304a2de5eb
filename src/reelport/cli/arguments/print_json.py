"""The option `--json` of commands that print one thing or a list.

It stands alone, for such commands need none of the catalog's names.
"""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

PrintJson = Annotated[bool, Parameter("--json", negative=(), help="Print JSON.")]
