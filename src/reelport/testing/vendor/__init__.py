"""A fake Reporting API, on a real socket, that misbehaves. Needs no service libraries.

with Vendor(running=2, refusal="429", cut=Cut.GZIP_TRAILER, cut_times=1) as vendor:
    ...  # speak to vendor.url with vendor.key and vendor.secret
    assert len(vendor.asks) == 1
"""

from reelport.testing.vendor.behaviour import Behaviour, Cut, Wire
from reelport.testing.vendor.vendor import Vendor

__all__ = ["Behaviour", "Cut", "Vendor", "Wire"]
