"""Writes the programs that ask for a report: as curl, in Python, by the command `reelport`.

None of them holds a key or a secret: they take both from the environment.
"""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import dataclass

from reelport.query import DEFAULT_PRODUCT, ReportQuery
from reelport.wire import ASK, GRAPHQL_PATH, LOOK, TOKEN_PATH

FILE = "report.csv"
"""The file that each program writes, in the current folder."""

_PLACE = re.compile(r"@([A-Z_]+)@")

_CURL = r"""set -eu
url=@URL@
granted=$(curl -sS "$url@TOKEN_PATH@" -d @- <<END
grant_type=client_credentials&client_id=$REELPORT_API_KEY&client_secret=$REELPORT_API_SECRET
END
)
token=$(printf '%s' "$granted" | sed -n -E 's/.*"access_token": ?"([^"]+)".*/\1/p')
[ "$token" ] || { echo "$granted" >&2; exit 1; }
post() {
  curl -sS "$url@GRAPHQL_PATH@" -H "Authorization: Bearer $token" -H 'Content-Type: application/json' -d @-
}
asked=$(post <<'END'
@ASK@
END
)
report=$(printf '%s' "$asked" | sed -n -E 's/.*"reportToken": ?"([^"]+)".*/\1/p')
[ "$report" ] || { echo "$asked" >&2; exit 1; }
while looked=$(post <<END
@LOOK@
END
); do
  case $looked in
    *'"FINISHED"'*) break ;;
    *'"IN_PROGRESS"'*) sleep 1 ;;
    *) echo "$looked" >&2; exit 1 ;;
  esac
done
curl -sS -f -o @FILE@ "$(printf '%s' "$looked" | sed -n -E 's/.*"link": ?"([^"]+)".*/\1/p')"
"""

_PYTHON = """from datetime import date

from reelport import Client, ReportQuery

query = ReportQuery.of(
    metrics=@METRICS@,
    dimensions=@DIMENSIONS@,
    start=@START@,
    end=@END@,
    filters=@FILTERS@,
    product=@PRODUCT@,
)
with Client(@URL@) as client:
    client.reports.run(query, to=@FILE@)
"""

# A terminal takes control characters as keys, within quotes too: what a link put into a filter would run when pasted.
_UNTYPED = "# A filter has characters that cannot be typed into a terminal: take the program in Python or for curl.\n"


@dataclass(frozen=True, slots=True)
class Snippet:
    """A program that asks for one report: a name for ids, a heading, and its text."""

    name: str
    heading: str
    text: str


def write_snippets(query: ReportQuery, url: str) -> tuple[Snippet, ...]:
    """Write the three programs for a query to the service at this address, the shortest first."""
    return (
        Snippet("reelport", "reelport", _write_command(query, url)),
        Snippet("python", "Python", _write_python(query, url)),
        Snippet("curl", "curl", _write_curl(query, url)),
    )


def _write_curl(query: ReportQuery, url: str) -> str:
    ask = json.dumps({"query": _on_one_line(ASK), "variables": {"input": query.to_wire()}})
    # Within an unquoted here-document the shell puts the token in, and leaves `\$` a dollar sign.
    look = (
        json.dumps({"query": _on_one_line(LOOK), "variables": {"reportToken": "@"}})
        .replace("$", r"\$")
        .replace("@", "$report")
    )
    texts = {
        "URL": shlex.quote(url),
        "TOKEN_PATH": TOKEN_PATH,
        "GRAPHQL_PATH": GRAPHQL_PATH,
        "FILE": FILE,
        "LOOK": look,
        "ASK": ask,
    }
    return _fill(_CURL, texts)


def _write_python(query: ReportQuery, url: str) -> str:
    texts = {
        "METRICS": ascii(list(query.metrics)),
        "DIMENSIONS": ascii(list(query.dimensions)),
        "START": _write_date(query.start.timetuple()[:3]),
        "END": _write_date(query.end.timetuple()[:3]),
        "FILTERS": ascii(dict(query.filters)),
        "PRODUCT": ascii(query.product),
        "URL": ascii(url),
        "FILE": ascii(FILE),
    }
    return _fill(_PYTHON, texts)


def _write_date(parts: tuple[int, ...]) -> str:
    return f"date({', '.join(map(str, parts))})"


def _write_command(query: ReportQuery, url: str) -> str:
    if not all(value.isprintable() for _, value in query.filters):
        return _UNTYPED
    words = ["reelport", "report", "run", "--url", url, "--metrics", ",".join(query.metrics)]
    words += ["--dimensions", ",".join(query.dimensions)] if query.dimensions else []
    words += ["--start", query.start.isoformat(), "--end", query.end.isoformat()]
    words += ["--product", query.product] if query.product != DEFAULT_PRODUCT else []
    for name, value in query.filters:
        words += ["--filter", f"{name}={value}"]
    return shlex.join([*words, "-o", FILE]) + "\n"


def _fill(template: str, texts: dict[str, str]) -> str:
    """Put texts in their places, in one pass: what a text holds is never taken for a place."""
    return _PLACE.sub(lambda found: texts[found[1]], template)


def _on_one_line(document: str) -> str:
    return " ".join(document.split())
