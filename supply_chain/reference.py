"""`make docs`: write the generated pages to their committed files."""

from __future__ import annotations

from pathlib import Path

from supply_chain.catalog_pages import catalog_page, errors_page
from supply_chain.settings_page import format_settings_page
from supply_chain.tables_page import format_tables_page

ROOT = Path(__file__).parents[1]


def generate_pages() -> dict[Path, str]:
    """Generate the text of each file, by its path."""
    reference = ROOT / "docs" / "reference"
    return {
        reference / "catalog.md": catalog_page(),
        reference / "errors.md": errors_page(),
        reference / "settings.md": format_settings_page(),
        reference / "tables.md": format_tables_page(),
    }


if __name__ == "__main__":
    for path, text in generate_pages().items():
        path.write_text(text)
        print(path.relative_to(ROOT))
