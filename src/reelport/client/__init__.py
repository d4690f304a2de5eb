"""Ask, wait, download: the client side of the Reporting API."""
