"""What is quoted for SQL comes back from the engine as it was."""

from __future__ import annotations

import duckdb
from hypothesis import example, given
from hypothesis import strategies as st

from reelport.sql_quoting import quote_name, quote_text

CHARACTERS = st.characters(exclude_categories=["Cs"], exclude_characters="\0")


@given(st.text(CHARACTERS, min_size=1), st.text(CHARACTERS))
@example("""a "name" of 'two' quotes""", """a 'text' of "two" quotes""")
def test_a_quoted_name_and_text_come_back_as_they_were(name: str, text: str) -> None:
    """Whatever characters are in them."""
    with duckdb.connect() as session:
        found = session.execute(f"SELECT {quote_text(text)} AS {quote_name(name)}")
        assert found.description is not None
        assert ([column[0] for column in found.description], found.fetchall()) == ([name], [(text,)])
