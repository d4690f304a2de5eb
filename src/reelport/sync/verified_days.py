"""Which days of a copy are verified: by their age, and by what the service says."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from datetime import date
from typing import Self

from reelport.errors import NewerData, StorageError
from reelport.sync.spec import NONE, Days, Spec, month_last
from reelport.sync.staging import Delivery
from reelport.wire import NO_DAY

_FORMAT = 1


@dataclass(frozen=True, slots=True)
class State:
    """A spec's copy: service and query of its rows, days present, days verified.

    A verified day was read after its numbers had become final, and isn't read again. `vouched` days are those up to
    which the service called its facts complete when they were read. `identity` is the hash of the query.
    """

    service: str = ""
    identity: str = ""
    present: Days = NONE
    verified: Days = NONE
    vouched: Days = NONE

    def has_meaning_of(self, spec: Spec) -> bool:
        """Whether the rows were made by the query that the spec has now."""
        return self.identity == spec.identity

    def is_current(self, spec: Spec, service: str) -> bool:
        """Whether the rows were made by the spec's query, at this service."""
        return self.has_meaning_of(spec) and self.service == service

    def without_verified(self, days: Days | None = None) -> Self:
        """Return the state with these days, or all of them, not verified."""
        return replace(self, verified=NONE if days is None else self.verified - days)

    def trust(self, spec: Spec, last_row: date | None) -> Self:
        """Return the state, unverified after the last day with rows unless the service vouched.

        Later days may be empty only because their facts haven't arrived yet.
        """
        if last_row is None:
            return replace(self, verified=self.verified & self.vouched)
        last = month_last(last_row) if spec.monthly else last_row
        return replace(self, verified=self.verified & (Days.between(date.min, last) | self.vouched))

    def after(self, spec: Spec, delivery: Delivery) -> Self:
        """Return the state after the delivery's window has been replaced."""
        days = delivery.days
        fits = self.is_current(spec, delivery.service)
        present = self.present if fits else NONE
        verified = self.verified if fits else NONE
        still = days & Days.between(date.min, spec.last_final_day(delivery.asked.date()))
        told = delivery.last_complete_day
        complete = NONE
        if told is not None and told != NO_DAY:
            complete = days & Days.between(date.min, spec.last_whole_day(told))
        return replace(
            self,
            service=delivery.service,
            identity=spec.identity,
            present=present | days,
            verified=(verified - days) | (still if told is None else still & complete),
            vouched=((self.vouched if fits else NONE) - days) | complete,
        )

    def to_json(self) -> str:
        """Format the state as one line of JSON."""
        return json.dumps(
            {
                "format": _FORMAT,
                "service": self.service,
                "identity": self.identity,
                "present": self.present.to_json(),
                "verified": self.verified.to_json(),
                "vouched": self.vouched.to_json(),
            }
        )

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what `to_json` gave. NewerData for a newer format, StorageError if damaged."""
        try:
            found = json.loads(text)
            if found["format"] > _FORMAT:
                raise NewerData("The state of this copy was written by a newer version of reelport: use that one.")
            return cls(
                str(found["service"]),
                str(found["identity"]),
                Days.from_json(found["present"]),
                Days.from_json(found["verified"]),
                Days.from_json(found.get("vouched", ())),
            )
        except (ValueError, KeyError, TypeError) as error:
            raise StorageError(f"The state of this copy can't be read ({error}): was it changed by hand?") from None
