"""The ledger: what this machine has asked for, so that no report and no slot is lost with the process that asked.

One SQLite file a user. It holds tokens of reports, which find them again, and never a secret, an access
token or a signed link.
"""

from reelport.client.ledger.entry import Busy, Claimed, Entry, Full, Held, Question, Serves
from reelport.client.ledger.ledger import Ledger
from reelport.client.ledger.rows import Row, State

__all__ = ["Busy", "Claimed", "Entry", "Full", "Held", "Ledger", "Question", "Row", "Serves", "State"]
