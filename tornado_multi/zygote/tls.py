"""The TLS context of a generation, made from its files before the app's user is taken on.

One context, made in the zygote and inherited by all workers, so that they share the keys of session
tickets: a client resumes its session with whichever worker it meets. Runs in: zygote.
"""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

from tornado_multi.loading import LoadError

if TYPE_CHECKING:
    from tornado_multi.settings.model import TlsSettings


def read_context(settings: TlsSettings) -> ssl.SSLContext | None:
    """Read certificate, key and authorities. None: no certificate is set.

    Raises: LoadError: a file can't be read, or holds something else.
    """
    if settings.tls_certificate is None:
        for name in ("tls_key", "tls_client_ca"):
            if getattr(settings, name) is not None:
                text = f"{name} is set, but tls_certificate is not: give the certificate too."
                raise LoadError(text, usage=True)
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    key = settings.tls_key or settings.tls_certificate
    seen = ""
    try:
        for name in ("tls_certificate", "tls_key", "tls_client_ca"):
            if (path := getattr(settings, name)) is not None:
                seen = f"{name}={path}"  # OpenSSL does not say which file it can't open
                with open(path, "rb") as file:
                    content = file.read()
                if name == "tls_certificate" and key == path and b"PRIVATE KEY" not in content:
                    raise ValueError("no private key stands in it; give tls_key too")
        seen = f"tls_certificate={settings.tls_certificate}, tls_key={key}"
        # A passphrase would be asked for on the terminal, by a process that has none.
        context.load_cert_chain(settings.tls_certificate, key, password=_refuse_passphrase)
        if settings.tls_client_ca is not None:
            seen = f"tls_client_ca={settings.tls_client_ca}"
            context.load_verify_locations(settings.tls_client_ca)
            context.verify_mode = ssl.CERT_REQUIRED
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        raise LoadError(f"TLS can't be set up: {seen}: {_said(error)}.", usage=True) from error
    return context


def _refuse_passphrase() -> str:
    raise ValueError("the key is protected by a passphrase; give one without")


def _said(error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        reasons = {
            "KEY_VALUES_MISMATCH": "the key does not belong to the certificate",
            "PEM_LIB": "not PEM, or not what belongs there",
            "NO_CERTIFICATE_OR_CRL_FOUND": "no certificate stands in it",
        }
        # Python knows no name for some of OpenSSL 3 and gives their words: "[SSL] PEM lib (...)".
        words = f"{error.reason} {error}".upper().replace(" ", "_")
        known = (text for name, text in reasons.items() if name in words)
        return next(known, error.reason or str(error))
    if isinstance(error, OSError):
        return error.strerror or str(error)
    return str(error)
