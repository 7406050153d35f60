"""The files that servers are given: a certificate, and the content of a download."""

from __future__ import annotations

import atexit
import functools
import ssl
import tempfile
from pathlib import Path

from .answers import block
from .connections import HOST, Secure

__all__ = ["certificate_file", "client_context", "content_file"]


@functools.cache
def _folder() -> Path:
    """A folder that lasts as long as this process."""
    folder = tempfile.TemporaryDirectory(prefix="benchmarks-")
    atexit.register(folder.cleanup)
    return Path(folder.name)


@functools.cache
def content_file(size: int) -> Path:
    """The content of a download, of so many MiB."""
    path = _folder() / f"content-{size}"
    repeated = block()
    with path.open("wb") as file:
        for _ in range(size):
            file.write(repeated)
    return path


def certificate_file() -> Path:
    """The key and the certificate of a server."""
    return _certificates()[0]


def client_context() -> ssl.SSLContext:
    """What the load generator speaks TLS with; it trusts the servers' certificate, and no other."""
    return _certificates()[1]


@functools.cache
def _certificates() -> tuple[Path, ssl.SSLContext]:
    import trustme  # only here: without TLS it need not be installed

    authority = trustme.CA()
    path = _folder() / "certificate.pem"
    authority.issue_cert(HOST).private_key_and_cert_chain_pem.write_to_path(str(path))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.sslsocket_class = Secure
    authority.configure_trust(context)
    return path, context
