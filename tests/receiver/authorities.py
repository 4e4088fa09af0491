"""Certificate authorities that are thrown away after the tests, and the certificates that they issue."""

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import trustme
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import NameOID

NAME = "hooks.test"


class Authorities:
    """A trusted authority, an untrusted one, and the certificates of both."""

    def __init__(self, folder: Path) -> None:
        self.ours, self.other = trustme.CA(), trustme.CA()
        self.file = folder / "ca.pem"
        self.ours.cert_pem.write_to_path(str(self.file))

    def context(self, *names: str, authority: trustme.CA | None = None, days: int = 30) -> ssl.SSLContext:
        """Return a server's context with a certificate for `names` that ends in `days`."""
        now = datetime.now(UTC)
        ends = now + timedelta(days=days)
        issuer = authority or self.ours
        leaf = issuer.issue_cert(*names, not_before=min(now, ends) - timedelta(days=9), not_after=ends)
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        leaf.configure_cert(context)
        return context

    def self_signed(self) -> ssl.SSLContext:
        """Return a server's context with a self-signed certificate."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        with self.other.private_key_pem.tempfile() as key, self.other.cert_pem.tempfile() as certificate:
            context.load_cert_chain(certificate, key)
        return context

    def common_name(self) -> ssl.SSLContext:
        """Return a server's context with a certificate that holds the name in its subject alone."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        key = ec.generate_private_key(ec.SECP256R1())
        subject, now = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, NAME)]), datetime.now(UTC)
        issuer = x509.load_pem_x509_certificate(self.ours.cert_pem.bytes())
        builder = x509.CertificateBuilder(
            issuer.subject, subject, key.public_key(), x509.random_serial_number()
        )
        whole = builder.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
        signer = load_pem_private_key(self.ours.private_key_pem.bytes(), None)
        assert isinstance(signer, ec.EllipticCurvePrivateKey)
        leaf = trustme.Blob(whole.sign(signer, SHA256()).public_bytes(Encoding.PEM))
        own = trustme.Blob(key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()))
        with own.tempfile() as private, leaf.tempfile() as certificate:
            context.load_cert_chain(certificate, private)
        return context

    def not_yet(self) -> ssl.SSLContext:
        """Return a server's context with a certificate that becomes valid in a week."""
        start = datetime.now(UTC) + timedelta(days=7)
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        leaf = self.ours.issue_cert(NAME, not_before=start, not_after=start + timedelta(days=7))
        leaf.configure_cert(context)
        return context
