from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealflow import DamagedRecordError, TamperedError
from sealflow.crypto import envelope

KEY, KEY_ID = os.urandom(32), os.urandom(8)
CONTEXT = (b"store", b"id", b"name", (1).to_bytes(8), b"api_key", b"p" * 32)
PLAIN = envelope.padded(b'{"value":"hunter2"}')


def test_what_is_sealed_is_unsealed():
    blob = envelope.seal(KEY, KEY_ID, PLAIN, CONTEXT)
    assert envelope.unseal(KEY, blob, CONTEXT) == PLAIN
    assert len(blob) == len(PLAIN) + envelope.OVERHEAD == len(PLAIN) + 104
    assert blob[:4] == b"SFL\x01"
    assert envelope.read_header(blob).key_id == KEY_ID


def test_sealing_twice_gives_two_blobs_without_the_value():
    one, two = (envelope.seal(KEY, KEY_ID, PLAIN, CONTEXT) for _ in range(2))
    assert one[12:] != two[12:]
    assert b"hunter2" not in one + two


def test_every_flipped_bit_is_refused():
    blob = envelope.seal(KEY, KEY_ID, PLAIN, CONTEXT)
    for position in range(len(blob) * 8):
        flipped = bytearray(blob)
        flipped[position // 8] ^= 1 << position % 8
        with pytest.raises((TamperedError, DamagedRecordError)):
            envelope.unseal(KEY, bytes(flipped), CONTEXT)


def test_every_truncation_and_every_longer_blob_is_refused():
    blob = envelope.seal(KEY, KEY_ID, PLAIN, CONTEXT)
    for length in range(len(blob)):
        with pytest.raises((TamperedError, DamagedRecordError)):
            envelope.unseal(KEY, blob[:length], CONTEXT)
    with pytest.raises(TamperedError):
        envelope.unseal(KEY, blob + b"\0", CONTEXT)


@pytest.mark.parametrize("part", range(len(CONTEXT)))
def test_another_context_is_refused(part):
    blob = envelope.seal(KEY, KEY_ID, PLAIN, CONTEXT)
    other = list(CONTEXT)
    other[part] += b"x"
    with pytest.raises(TamperedError):
        envelope.unseal(KEY, blob, other)


def test_parts_that_run_together_the_same_way_are_two_contexts():
    blob = envelope.seal(KEY, KEY_ID, PLAIN, (b"ab", b"c"))
    with pytest.raises(TamperedError):
        envelope.unseal(KEY, blob, (b"a", b"bc"))


def test_another_key_and_another_purpose_are_refused():
    blob = envelope.seal(KEY, KEY_ID, PLAIN, CONTEXT)
    with pytest.raises(TamperedError):
        envelope.unseal(os.urandom(32), blob, CONTEXT)
    with pytest.raises(TamperedError):
        envelope.unseal(KEY, blob, CONTEXT, envelope.KEY_WRAP)


def test_a_newer_format_says_so():
    blob = envelope.seal(KEY, KEY_ID, PLAIN, CONTEXT)
    with pytest.raises(DamagedRecordError, match="unknown format 2"):
        envelope.unseal(KEY, b"SFL\x02" + blob[4:], CONTEXT)


def test_an_error_holds_no_plaintext_in_its_chain():
    blob = bytearray(envelope.seal(KEY, KEY_ID, PLAIN, CONTEXT))
    blob[-1] ^= 1
    with pytest.raises(TamperedError) as caught:
        envelope.unseal(KEY, bytes(blob), CONTEXT)
    assert caught.value.__context__ is None


@given(st.binary(max_size=300))
def test_padding_goes_to_64_bytes_with_blanks(text):
    padded = envelope.padded(text)
    assert len(padded) % 64 == 0
    assert padded.startswith(text)
    assert set(padded[len(text) :]) <= {0x20}
    assert len(padded) - len(text) < 64


@given(st.binary(max_size=500))
def test_any_bytes_are_refused_and_never_break(blob):
    with pytest.raises((TamperedError, DamagedRecordError)):
        envelope.unseal(KEY, blob, CONTEXT)


def test_golden_records_open_for_ever():
    """Blobs of the first release, with the keys and contexts that were theirs: see tests/golden/make.py."""
    import json
    from pathlib import Path

    for case in json.loads((Path(__file__).parent / "golden" / "records-v1.json").read_text()):
        context = tuple(bytes.fromhex(part) for part in case["context"])
        blob = bytes.fromhex(case["blob"])
        assert envelope.unseal(
            bytes.fromhex(case["key"]), blob, context, case["purpose"].encode()
        ) == bytes.fromhex(case["plaintext"])


def test_golden_stores_open_for_ever(tmp_path):
    """Whole stores of the first release, of each backend."""
    import shutil
    from pathlib import Path

    import sealflow

    golden = Path(__file__).parent / "golden"
    key = (golden / "store-v1.key").read_text()
    for backend in ("sqlite", "file"):
        shutil.copytree(golden / f"store-v1-{backend}", tmp_path / backend)
        for item in (tmp_path / backend, *(tmp_path / backend).rglob("*")):
            item.chmod(0o700 if item.is_dir() else 0o600)
        with sealflow.open_service(tmp_path / backend, None, key) as service:
            assert service.get_secret("github").data == {"token": "golden-token"}
            assert service.get_secret("github", 1).data == {"token": "golden-first"}
            assert service.get_secret("db").data == {"server": {"host": "h", "ports": [1, 2]}, "tls": True}
            assert service.get_secret("github").metadata.allowed_hosts == ("api.github.com",)
