"""What a copy of a report holds: which days, and which of them for good. It changes with the rows, in one step."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from datetime import date
from typing import Self

from reelport.errors import NewerData, StorageError
from reelport.sync.days import NONE, Days
from reelport.sync.spec import Spec
from reelport.sync.staging import Delivery

_FORMAT = 1


@dataclass(frozen=True, slots=True)
class State:
    """The state of one spec's copy: whose rows they are, the days that are there, and the verified ones among them.

    A verified day was read when its numbers stood still already, and isn't read again. `service` is the
    address that the rows came from, `identity` what they mean (see `Spec.identity`).
    """

    service: str = ""
    identity: str = ""
    present: Days = NONE
    verified: Days = NONE

    def serves(self, spec: Spec) -> bool:
        """Whether its rows are what the spec asks for now."""
        return self.identity == spec.identity

    def fits(self, spec: Spec, service: str) -> bool:
        """Whether they are that, and this service's."""
        return self.serves(spec) and self.service == service

    def doubted(self) -> Self:
        """The same, with no day for good."""
        return replace(self, verified=NONE)

    def after(self, spec: Spec, delivery: Delivery) -> Self:
        """The state once the delivery's window has been replaced."""
        days = Days.between(delivery.window.start, delivery.window.end)
        fits = self.fits(spec, delivery.service)
        present = self.present if fits else NONE
        verified = self.verified if fits else NONE
        still = days & Days.between(date.min, spec.still(delivery.asked.date()))
        return replace(
            self,
            service=delivery.service,
            identity=spec.identity,
            present=present | days,
            verified=(verified - days) | still,
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
            )
        except (ValueError, KeyError, TypeError) as error:
            raise StorageError(f"The state of this copy can't be read ({error}): was it changed by hand?") from None
