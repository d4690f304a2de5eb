"""What reading a damaged Parquet file raises."""

from __future__ import annotations

import pyarrow as pa

DAMAGE_ERRORS = (pa.ArrowException, UnicodeDecodeError)
"""The second one where a byte of a column's name is another than was written: Arrow reads names only then."""
