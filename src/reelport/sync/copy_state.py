"""What a copy of a report holds: which days, and which of them for good. It changes with the rows, in one step."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from datetime import date
from typing import Self

from reelport.errors import NewerData, StorageError
from reelport.sync.days import NONE, Days, month_last
from reelport.sync.spec import Spec
from reelport.sync.staging import Delivery
from reelport.wire import NO_DAY

_FORMAT = 1


@dataclass(frozen=True, slots=True)
class State:
    """The state of one spec's copy: whose rows they are, the days that are there, and the verified ones among them.

    A verified day was read when its numbers stood still already, and isn't read again. `vouched` are days of which the
    service said, when they were read, that its facts are complete up to them. `service` is the address that the rows
    came from, `identity` what they mean (see `Spec.identity`).
    """

    service: str = ""
    identity: str = ""
    present: Days = NONE
    verified: Days = NONE
    vouched: Days = NONE

    def serves(self, spec: Spec) -> bool:
        """Whether its rows are what the spec asks for now."""
        return self.identity == spec.identity

    def fits(self, spec: Spec, service: str) -> bool:
        """Whether they are that, and this service's."""
        return self.serves(spec) and self.service == service

    def doubted(self, days: Days | None = None) -> Self:
        """The same, with none of these days for good, or no day at all."""
        return replace(self, verified=NONE if days is None else self.verified - days)

    def trusted(self, spec: Spec, last_row: date | None) -> Self:
        """The same, where empty days after the last row are for good only when the service has vouched for them.

        `last_row` is the last day with rows in the copy; None when it has none. Days after it may be empty because
        facts haven't come yet.
        """
        if last_row is None:
            return replace(self, verified=self.verified & self.vouched)
        last = month_last(last_row) if spec.monthly else last_row
        return replace(self, verified=self.verified & (Days.between(date.min, last) | self.vouched))

    def after(self, spec: Spec, delivery: Delivery) -> Self:
        """The state once the delivery's window has been replaced."""
        days = Days.between(delivery.window.start, delivery.window.end)
        fits = self.fits(spec, delivery.service)
        present = self.present if fits else NONE
        verified = self.verified if fits else NONE
        still = days & Days.between(date.min, spec.still(delivery.asked.date()))
        complete = _complete(spec, delivery, days)
        return replace(
            self,
            service=delivery.service,
            identity=spec.identity,
            present=present | days,
            verified=(verified - days) | (still if delivery.last_complete_day is None else still & complete),
            vouched=((self.vouched if fits else NONE) - days) | complete,
        )

    def to_json(self) -> str:
        """One line of JSON."""
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
        """The state of `to_json`. NewerData for one of a newer version, StorageError for one that is damaged."""
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


def _complete(spec: Spec, delivery: Delivery, days: Days) -> Days:
    """The days of a delivery that the service's facts were complete for; none where it doesn't tell."""
    last = delivery.last_complete_day
    return NONE if last is None or last == NO_DAY else days & Days.between(date.min, spec.whole(last))
