"""``sealflow doctor``: each planted fault is found, with what to do; a sound store has none."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from pathlib import Path

import pytest

from sealflow import MasterKey, open_service
from sealflow.model import times
from sealflow.operations.backup import write_backup
from sealflow.operations.doctor import OPEN_STORE_CHECKS
from sealflow.operations.keys import StoreKeys
from sealflow.service.access import access_of

STORE = Path(".workflow/secrets")


@pytest.fixture
def sound(cli, store_key, own_world, backend, monkeypatch):
    monkeypatch.setenv("WORKFLOW_SECRETS_STORAGE_BACKEND", backend)
    with open_service() as service:
        for name in ("a", "b"):
            service.create_secret(
                name, "api_key", {"value": f"value-of-{name}"}, allowed_hosts=["x.example.com"]
            )
            service.get_secret(name)
        StoreKeys(service).add_recovery()
    monkeypatch.delenv("WORKFLOW_SECRETS_STORAGE_BACKEND")
    return own_world / STORE


def doctor(cli):
    result = cli("doctor", "--json")
    return result.code, json.loads(result.out)


def test_a_sound_store_has_nothing_to_act_on(cli, sound):
    assert doctor(cli) == (0, [])
    assert "0 to act on, 0 worth knowing" in cli("doctor").out


def change_record(path: Path, edit) -> None:
    if (path / "secrets.db").exists():
        with sqlite3.connect(path / "secrets.db") as database:
            record = database.execute("SELECT record FROM versions LIMIT 1").fetchone()[0]
            database.execute("UPDATE versions SET record = ? WHERE record = ?", (edit(record), record))
        database.close()
        return
    import base64

    file = min((path / "records").glob("*.json"))
    document = json.loads(file.read_text())
    record = base64.b64decode(document["versions"][0]["record"])
    document["versions"][0]["record"] = base64.b64encode(edit(record)).decode()
    file.write_text(json.dumps(document))


def main_file(path: Path) -> Path:
    return next(path / name for name in ("secrets.db", "keyring.json") if (path / name).exists())


def newer_schema(path: Path) -> None:
    file = main_file(path)
    if file.suffix == ".db":
        with sqlite3.connect(file) as database:
            database.execute("PRAGMA user_version = 99")
        database.close()
    else:
        file.write_text(json.dumps({**json.loads(file.read_text()), "format": 99}))


def audit_line(path: Path) -> None:
    file = path / "audit.log"
    file.write_text(file.read_text().replace('"action":"create"', '"action":"reveal"', 1))


def swapped_marker(path: Path) -> None:
    (path / "store.json").write_text("{")


FAULTS = {
    "open directory": (lambda path: path.chmod(0o755), "permissions", "error", "chmod 700"),
    "open file": (lambda path: main_file(path).chmod(0o644), "permissions", "error", "chmod 600"),
    "link": (lambda path: (path / "x").symlink_to("/etc/hostname"), "permissions", "error", "rm "),
    "open parent": (lambda path: path.parent.chmod(0o777), "permissions", "warning", "chmod go-w"),
    "stray file": (lambda path: (path / ".tmp-1-x").touch(0o600), "temporary-files", "warning", "rm -r"),
    "newer schema": (newer_schema, "store", "error", "Update sealflow"),
    "damaged marker": (swapped_marker, "store", "error", "Remove it"),
    "missing marker": (lambda path: (path / "store.json").unlink(), "store", "warning", "Open the store once"),
    "flipped bit": (lambda path: change_record(path, lambda r: r[:-1] + bytes([r[-1] ^ 1])), "records", "error", "backup"),
    "cut record": (lambda path: change_record(path, lambda r: r[:50]), "records", "error", "backup"),
    "audit line": (audit_line, "audit", "error", "who can write"),
    "editor's file": (lambda path: (path / "x.swp").touch(0o600), "temporary-files", "warning", "mv "),
    "no audit trail": (
        lambda path: [item.unlink() for item in path.glob("audit.*")], "audit", "warning", "who removed it",
    ),
    "old store left": (lambda path: (path / "old-file-x").mkdir(0o700), "store", "note", "--remove-old"),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_in_the_files_are_found(cli, sound, fault):
    plant, check, level, fix = FAULTS[fault]
    plant(sound)
    code, found = doctor(cli)
    (finding,) = [item for item in found if item["check"] == check]
    assert finding["level"] == level
    assert fix in finding["fix"]
    assert code == (0 if level == "note" else 1)
    assert (
        str(sound.parent) in finding["problem"] or "'a'" in finding["problem"] or "'b'" in finding["problem"]
    )


def service_of(work):
    def plant() -> None:
        with open_service() as service:
            work(service)

    return plant


def rotated(service) -> None:
    StoreKeys(service).rotate_dek()


SECRETS = {
    "expired": (
        lambda s: s.create_secret("x", "api_key", {"value": "value-x"}, expires_at="2020-01-01T00:00:00Z"),
        "expired", "warning", "update x --expires-at",
    ),
    "unused": (
        lambda s: s.create_secret("x", "api_key", {"value": "value-x"}), "unused", "note", "secret usage x",
    ),
    "any host": (
        lambda s: s.create_secret("x", "api_key", {"value": "value-x"}), "policy", "note", "--allowed-host",
    ),
    "short": (
        lambda s: s.create_secret("x", "api_key", {"value": "abc"}), "settings", "warning", "update x --field value",
    ),
    "nested short": (
        lambda s: s.create_secret("x", "custom", {"servers": [{"pin": "abc"}], "long": "long enough"}),
        "settings", "warning", "update x --field servers",
    ),
    "unfinished rotation": (rotated, "keys", "warning", "key reencrypt"),
    "two master keys": (
        lambda s: StoreKeys(s).add(MasterKey.generate()), "keys", "note", "key remove",
    ),
}  # fmt: skip


@pytest.mark.parametrize("fault", SECRETS)
def test_faults_in_what_is_kept_are_found(cli, sound, fault):
    work, check, level, fix = SECRETS[fault]
    service_of(work)()
    code, found = doctor(cli)
    (finding,) = [item for item in found if item["check"] == check]
    assert finding["level"] == level
    assert fix in finding["fix"]
    assert code == (0 if level == "note" else 1)
    printed = cli("doctor").out
    assert f"{level}: {check}: " in printed
    assert finding["fix"] in printed


def test_a_secret_that_expires_soon_is_a_warning(cli, sound):
    from datetime import UTC, datetime, timedelta

    with open_service() as service:
        service.update_secret("a", expires_at=datetime.now(UTC) + timedelta(days=3, hours=1))
    code, found = doctor(cli)
    assert code == 1
    assert [(item["check"], item["level"]) for item in found] == [("expiring", "warning")]
    assert "in 3 days" in found[0]["problem"]


def test_faults_of_the_key_are_found(cli, sound, monkeypatch, tmp_path, store_key):
    def problem():
        code, found = doctor(cli)
        assert code == 1
        (item,) = [item for item in found if item["level"] != "note" and item["check"] != "temporary-files"]
        return item["problem"] + " | " + item["fix"]

    monkeypatch.setenv("WORKFLOW_SECRETS_MASTER_KEY", MasterKey.generate().to_text())
    assert "this store knows" in problem()
    monkeypatch.setenv("WORKFLOW_SECRETS_MASTER_KEY", "sfk1_nonsense")
    assert "does not hold a master key" in problem()
    monkeypatch.delenv("WORKFLOW_SECRETS_MASTER_KEY")
    assert "no master key is configured" in problem()
    file = tmp_path / "k.key"
    file.write_text(store_key.to_text())
    file.chmod(0o644)
    monkeypatch.setenv("WORKFLOW_SECRETS_MASTER_KEY_FILE", str(file))
    assert f"chmod 600 {file}" in problem()
    file.chmod(0o600)
    shutil.copy2(file, sound / "inside.key")
    monkeypatch.setenv("WORKFLOW_SECRETS_MASTER_KEY_FILE", str(sound / "inside.key"))
    assert "inside the storage directory" in problem()
    (sound / "inside.key").unlink()
    monkeypatch.setenv("WORKFLOW_SECRETS_MASTER_KEY_FILE", str(file))
    monkeypatch.setenv("WORKFLOW_SECRETS_PASSPHRASE", "five random words for it")
    assert "WORKFLOW_SECRETS_PASSPHRASE are set" in problem()


def test_a_passphrase_and_a_change_under_way_are_notes(cli, sound, monkeypatch, store_key):
    from sealflow.crypto.master_key import Passphrase

    with open_service() as service:
        StoreKeys(service).add(Passphrase(b"five random words for it", "a test"))
    monkeypatch.setenv("WORKFLOW_SECRETS_MASTER_KEY_PREVIOUS", store_key.to_text())
    assert any("being exchanged" in item["problem"] for item in doctor(cli)[1])
    monkeypatch.delenv("WORKFLOW_SECRETS_MASTER_KEY")
    monkeypatch.delenv("WORKFLOW_SECRETS_MASTER_KEY_PREVIOUS")
    monkeypatch.setenv("WORKFLOW_SECRETS_PASSPHRASE", "five random words for it")
    code, found = doctor(cli)
    assert code == 0
    assert any("opens with a passphrase" in item["problem"] for item in found)


def test_a_store_without_a_recovery_key_and_no_store_at_all(cli, store_key, own_world):
    code, found = doctor(cli)
    assert code == 1
    assert found[0]["fix"].endswith("make one: `sealflow init`")
    with open_service():
        pass
    code, found = doctor(cli)
    assert code == 0
    assert "no recovery key" in found[0]["problem"]


def test_a_move_that_was_killed_is_found(cli, sound, tmp_path, key):
    other = "file" if (sound / "secrets.db").exists() else "sqlite"
    with open_service(tmp_path / "other", other, key):
        pass
    name = {"file": "keyring.json", "sqlite": "secrets.db"}[other]
    shutil.copy2(tmp_path / "other" / name, sound / name)
    code, found = doctor(cli)
    assert code == 1
    assert f"a {other} store is beside" in found[0]["problem"]


def test_integrity_is_looked_at_in_every_part(cli, sound):
    if (sound / "secrets.db").exists():
        content = bytearray((sound / "secrets.db").read_bytes())
        content[4096 * 3 : 4096 * 3 + 200] = bytes(200)
        (sound / "secrets.db").write_bytes(content)
    else:
        (sound / "records" / "more.json").write_text("{}")
    code, found = doctor(cli)
    assert code == 1
    assert any(item["level"] == "error" and item["check"] in ("integrity", "store") for item in found), found


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_file_of_another_user_is_found(cli, sound):
    os.chown(main_file(sound), 12345, 12345)
    assert any("belongs to the user 12345" in item["problem"] for item in doctor(cli)[1])


def test_doctor_repairs_what_it_says_by_what_it_says(cli, sound, tmp_path, store_key):
    """The advice for a damaged record, followed: the backup is restored, and nothing is left to act on."""
    with open_service() as service:
        write_backup(access_of(service).registry, tmp_path / "b", (store_key,))
    change_record(sound, lambda record: record[:-1] + bytes([record[-1] ^ 1]))
    assert doctor(cli)[0] == 1
    assert cli("backup", "restore", str(tmp_path / "b"), "--yes").code == 0
    assert cli("store", "migrate", "--remove-old", "--yes").code == 0
    assert doctor(cli) == (0, [])


@pytest.mark.parametrize(
    ("text", "mode", "level", "said"),
    [
        ('[[providers]]\nname = "v"\nkind = "vault"\naddress = "http://vault.example.com"\n', 0o600, "warning", "without TLS"),
        ('[[providers]]\nname = "v"\nkind = "vault"\naddress = "https://v"\nverify_tls = false\n', 0o600, "warning", "not verified"),
        ('[[providers]]\nname = "v"\nkind = "vault"\naddress = "http://127.0.0.1:8200"\n', 0o600, None, ""),
        ('[[providers]]\nname = "v"\nkind = "vault"\naddress = "http://[bad"\n', 0o600, "warning", "without TLS"),
        ("[audit]\nrequired = true\n", 0o666, "warning", "other users may write"),
        ("nonsense", 0o600, "error", "is not valid TOML"),
    ],
)  # fmt: skip
def test_faults_of_the_configuration_are_found(cli, sound, own_world, text, mode, level, said):
    (own_world / "sealflow.toml").write_text(text)
    (own_world / "sealflow.toml").chmod(mode)
    code, found = doctor(cli)
    if level is None:
        assert (code, found) == (0, [])
        return
    (finding,) = found
    assert (code, finding["level"]) == (1, level)
    assert said in finding["problem"]


def test_a_secret_that_nobody_used_for_long_is_a_note(cli, sound):
    trail = sound / "audit.log"
    trail.write_text(trail.read_text().replace(f"{times.now().year}-", "2020-"))
    unused = [item["problem"] for item in doctor(cli)[1] if item["check"] == "unused"]
    assert any("'a' was last used at 2020-" in problem for problem in unused)


def test_one_damaged_secret_hides_nothing_of_the_others(cli, sound):
    with open_service() as service:
        service.update_secret("b", expires_at="2020-01-01T00:00:00Z")
        with access_of(service).registry.transaction() as transaction:
            secret = transaction.load("a")
            transaction.save(secret._replace(versions=(secret.current._replace(policy="{}"),)))
    found = {(item["check"], item["level"]) for item in doctor(cli)[1]}
    assert found >= {("records", "error"), ("expired", "warning")}


def documented_checks() -> set[str]:
    page = (Path(__file__).parent.parent / "docs" / "reference" / "doctor.md").read_text()
    rows = [line.split("|")[1] for line in page.splitlines() if line.startswith("| `")]
    return {name.strip(" `") for row in rows for name in row.split(",")}


def test_each_check_of_an_open_store_has_a_documented_name():
    assert {name for name, _ in OPEN_STORE_CHECKS} <= documented_checks()


def test_a_check_that_an_error_stops_is_reported_by_its_documented_name(cli, sound, monkeypatch):
    """A master key that is not this store's stops the check of the keys."""
    monkeypatch.setenv("WORKFLOW_SECRETS_MASTER_KEY", MasterKey.generate().to_text())
    _, found = doctor(cli)
    assert [item["check"] for item in found] == ["keys"]


def test_an_old_copy_of_the_store_is_noted_with_the_command_that_removes_it(cli, sound, backend):
    assert cli("store", "migrate", "--to", {"sqlite": "file", "file": "sqlite"}[backend]).code == 0
    _, found = doctor(cli)
    (note,) = [item for item in found if item["check"] == "store"]
    assert note["level"] == "note"
    assert "still holds secrets that were destroyed since" in note["problem"]
    assert note["fix"] == "sealflow store migrate --remove-old"
