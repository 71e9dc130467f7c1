"""Service account keys for the emulators."""

from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat


def service_account(project: str, token_uri: str) -> dict[str, str]:
    """Return a new service account key for `project`, as `GcpCredentials(service_account_info=...)` expects it.

    `token_uri` is the address that issues the tokens: `/token` of either emulator.
    """
    email = f"throwaway@{project}.iam.gserviceaccount.com"
    key = generate_private_key(public_exponent=65537, key_size=2048)
    return {
        "type": "service_account",
        "project_id": project,
        "private_key_id": "throwaway",
        "private_key": key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode(),
        "client_email": email,
        "client_id": "0",
        "token_uri": token_uri,
        "universe_domain": "googleapis.com",
    }
