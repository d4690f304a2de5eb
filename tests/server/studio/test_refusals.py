"""Refusals of Studio's pages, raised wherever a page finds that it can't be shown."""

from __future__ import annotations

import pytest
from tests.server.api import Api

from reelport.server.state.database import reading, writing
from reelport.server.studio.visit import Elsewhere, Refused, not_found


@pytest.mark.parametrize("refusal", [not_found(), Elsewhere("/studio")], ids=lambda each: type(each).__name__)
def test_a_refusal_passes_a_transaction(api: Api, refusal: Refused | Elsewhere) -> None:
    """An endpoint may raise one while it reads or writes the state."""
    for transaction in (reading, writing):
        with pytest.raises(type(refusal)), transaction(api.service.db):
            raise refusal
