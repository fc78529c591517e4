"""Makes the golden files of format 1. They were made once, by the first release, and are never made again:
a reader that cannot open them has lost its users' secrets. A new format gets files of its own beside them.
"""

import json
import os
from pathlib import Path

import sealflow
from sealflow.crypto import envelope

HERE = Path(__file__).parent


def records() -> list[dict[str, object]]:
    cases = []
    for plaintext in (b"", b"{}", b'{"value":"golden"}', bytes(range(256))):
        key, key_id = os.urandom(32), os.urandom(8)
        for purpose in (envelope.RECORD, envelope.KEY_WRAP):
            context = (b"store", b"id", b"name", (7).to_bytes(8), b"api_key", os.urandom(32))
            blob = envelope.seal(key, key_id, plaintext, context, purpose)
            cases.append(
                {
                    "key": key.hex(),
                    "purpose": purpose.decode(),
                    "context": [part.hex() for part in context],
                    "plaintext": plaintext.hex(),
                    "blob": blob.hex(),
                }
            )
    return cases


def main() -> None:
    (HERE / "records-v1.json").write_text(json.dumps(records(), indent=1))
    key = sealflow.MasterKey.generate()
    (HERE / "store-v1.key").write_text(key.to_text() + "\n")
    for backend in ("sqlite", "file"):
        with sealflow.open_service(HERE / f"store-v1-{backend}", backend, key) as service:
            service.create_secret(
                "github", "bearer_token", {"token": "golden-first"}, description="d", tags=["a", "b"]
            )
            service.update_secret(
                "github",
                {"token": "golden-token"},
                allowed_hosts=["api.github.com"],
                expires_at="2999-01-01T00:00:00Z",
            )
            service.create_secret("db", "custom", {"server": {"host": "h", "ports": [1, 2]}, "tls": True})
            service.create_secret("gone", "api_key", {"value": "golden-gone"})
            service.delete_secret("gone")


if __name__ == "__main__":
    main()
