"""Who vouches for an export: the installation with its certificate, and where it has none a key of its own.

Without a network there is no certificate, ever. The receiver's operator then knows the key by its fingerprint, so it
has to be the same for as long as the consent lasts, and goes with it.
"""

from __future__ import annotations

from cryptography import x509

from uplink.client.enrolment.keys import new_key, read_key, write_key
from uplink.client.enrolment.vault import Vault
from uplink.client.network.trust import Trust
from uplink.client.spooling.export import Signer
from uplink.wire.export import fingerprint
from uplink.wire.private_file import PrivateFileError


class ExportKey:
    """In a vault that is for nothing else; made when it is first needed."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault
        self.fingerprint = ""
        """SHA-256 of the public key, once this process has used it: what the receiver's operator is told."""

    async def signer(self, trust: Trust | None) -> Signer:
        """Raises `OSError` where the key can't be kept: nobody would know the next one again."""
        if trust is not None and trust.key_pem:
            return Signer(read_key(trust.key_pem), x509.load_pem_x509_certificates(trust.chain_pem.encode()))
        kept = await self._vault.read()
        try:
            key = new_key() if kept is None else read_key(kept.decode())
        except ValueError:
            mend = "switch telemetry off and on again, which makes another one"
            raise PrivateFileError(0, f"the key at {self._vault.place} is damaged: {mend}") from None
        if kept is None:
            await self._vault.write(write_key(key).encode())
        self.fingerprint = fingerprint(key.public_key())
        return Signer(key)

    async def destroy(self) -> None:
        """Raises `OSError`; makes nothing where there is nothing."""
        self.fingerprint = ""
        await self._vault.destroy()
