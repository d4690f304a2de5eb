#!/opt/moto/bin/python
"""An S3 store by moto, over TLS, with the bucket that compose mounts as a folder."""

from __future__ import annotations

import argparse

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from moto.s3.models import s3_backends
from werkzeug.serving import run_simple

BUCKET, REGION, ACCOUNT = "reelport", "us-east-1", "123456789012"


def main() -> None:
    """Answer until it is killed."""
    parser = argparse.ArgumentParser()
    for word in ("--port", "--cert", "--key", "backend", "root"):
        parser.add_argument(word)
    given = parser.parse_args()
    s3_backends[ACCOUNT]["aws"].create_bucket(BUCKET, REGION)
    application = DomainDispatcherApplication(create_backend_app)
    port = int(given.port.strip(":"))
    run_simple("0.0.0.0", port, application, threaded=True, ssl_context=(given.cert, given.key))  # noqa: S104


if __name__ == "__main__":
    main()
