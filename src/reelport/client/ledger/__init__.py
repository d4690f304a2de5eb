"""The ledger records each report asked for, so that a crash loses no report, no slot.

One SQLite file per user. It holds report tokens, by which reports are found again, and never a secret, an access
token or a signed link.
"""

from reelport.client.ledger.entry import Busy, Claimed, Entry, Full, LostAsk, Question, Reuse
from reelport.client.ledger.ledger import Ledger
from reelport.client.ledger.rows import Row, State

__all__ = ["Busy", "Claimed", "Entry", "Full", "Ledger", "LostAsk", "Question", "Reuse", "Row", "State"]
