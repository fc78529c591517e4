"""Key files: the strict rule, what platforms make, and what another user could have written."""

from __future__ import annotations

import os

import pytest

from pods import needs_mounts, run_in_pod
from sealflow import InvalidMasterKeyError, MasterKey, SettingsError, open_service
from sealflow.crypto.key_file import read_key_file, trusting_key_path, write_key_file

TRUSTED = "WORKFLOW_SECRETS_MASTER_KEY_TRUSTED_PATH"


def unsafe_files(tmp_path):
    good = tmp_path / "good"
    write_key_file(good, MasterKey.generate().to_text())
    link = tmp_path / "link"
    link.symlink_to(good)
    yield link, "symbolic link"
    yield tmp_path / "missing", "does not exist"
    yield tmp_path, "regular file|cannot be opened"
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo, 0o600)
    yield fifo, "regular"
    big = tmp_path / "big"
    write_key_file(big, "x" * 5000)
    yield big, "4 KiB"
    for mode in (0o640, 0o604, 0o620, 0o602, 0o666):
        loose = tmp_path / f"loose{mode:o}"
        write_key_file(loose, MasterKey.generate().to_text())
        loose.chmod(mode)
        yield loose, "chmod 600"
    binary = tmp_path / "binary"
    write_key_file(binary, "")
    binary.write_bytes(b"\xff\xfe\x00")
    yield binary, "does not hold text"


@pytest.mark.value_files("*")
def test_a_key_file_that_is_not_safe_is_refused(tmp_path):
    for path, said in unsafe_files(tmp_path):
        with pytest.raises(InvalidMasterKeyError, match=said):
            read_key_file(path, tmp_path / "storage")


@pytest.mark.value_files("key")
def test_a_key_file_inside_the_storage_directory_is_refused(tmp_path, monkeypatch):
    storage = tmp_path / "storage"
    storage.mkdir(mode=0o700)
    write_key_file(storage / "key", MasterKey.generate().to_text())
    monkeypatch.setenv("WORKFLOW_SECRETS_MASTER_KEY_FILE", str(storage / "key"))
    with pytest.raises(InvalidMasterKeyError, match="inside"):
        open_service(storage)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
@pytest.mark.value_files("key")
def test_a_key_file_of_another_user_is_refused(tmp_path):
    path = tmp_path / "key"
    write_key_file(path, MasterKey.generate().to_text())
    os.chown(path, 12345, 12345)
    with pytest.raises(InvalidMasterKeyError, match="another user"):
        read_key_file(path, tmp_path / "storage")


def test_a_key_file_is_private_under_any_umask(tmp_path):
    old = os.umask(0)
    try:
        write_key_file(tmp_path / "a" / "k", "text")
    finally:
        os.umask(old)
    assert (tmp_path / "a" / "k").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o700
    with pytest.raises(FileExistsError):
        write_key_file(tmp_path / "a" / "k", "other")


@pytest.fixture
def volume(tmp_path, key):
    """A secret volume of Kubernetes, on a file system that this user can write to."""
    folder = tmp_path / "volume"
    data = folder / "..2026_11_25"
    data.mkdir(parents=True)
    (data / "master.key").write_text(key.to_text())
    (data / "master.key").chmod(0o440)
    (folder / "..data").symlink_to(data.name)
    (folder / "master.key").symlink_to("..data/master.key")
    for path in (folder, data):
        path.chmod(0o755)
    return folder


def refusal(path, tmp_path):
    with pytest.raises(InvalidMasterKeyError) as caught:
        read_key_file(path, tmp_path / "storage")
    return str(caught.value)


def test_a_link_is_followed_only_in_a_place_that_the_owner_trusts(volume, tmp_path, key, monkeypatch):
    path = volume / "master.key"
    assert "is a symbolic link" in refusal(path, tmp_path)
    monkeypatch.setenv(TRUSTED, f"/nowhere:{volume}")
    assert read_key_file(path, tmp_path / "storage") == key.to_text()


def test_a_path_is_trusted_for_one_command(volume, tmp_path, key):
    with trusting_key_path(str(volume)):
        assert read_key_file(volume / "master.key", tmp_path / "storage") == key.to_text()
    assert "is a symbolic link" in refusal(volume / "master.key", tmp_path)


def test_the_command_line_takes_the_path(volume, cli, key, monkeypatch):
    monkeypatch.setenv("WORKFLOW_SECRETS_MASTER_KEY", key.to_text())
    assert cli("init").code == 0
    monkeypatch.delenv("WORKFLOW_SECRETS_MASTER_KEY")
    monkeypatch.setenv("WORKFLOW_SECRETS_MASTER_KEY_FILE", str(volume / "master.key"))
    assert "is a symbolic link" in cli("secret", "list").err
    assert cli("--trust-key-path", str(volume), "secret", "list").code == 0
    assert cli("secret", "list").code == 1


def test_a_file_that_others_may_read_is_accepted_only_where_the_owner_trusts_it(tmp_path, key, monkeypatch):
    path = tmp_path / "readable.key"
    write_key_file(path, key.to_text())
    path.chmod(0o444)
    assert "chmod 600" in refusal(path, tmp_path)
    monkeypatch.setenv(TRUSTED, str(path))
    assert read_key_file(path, tmp_path / "storage").strip() == key.to_text()


def test_a_link_out_of_a_trusted_place_is_refused(volume, tmp_path, monkeypatch):
    elsewhere = tmp_path / "elsewhere.key"
    write_key_file(elsewhere, MasterKey.generate().to_text())
    (volume / "out").symlink_to(elsewhere)
    monkeypatch.setenv(TRUSTED, str(volume))
    assert f"leads to {elsewhere}" in refusal(volume / "out", tmp_path)


@pytest.mark.parametrize("mode", [0o620, 0o602])
def test_a_file_that_others_may_write_is_refused_also_in_a_trusted_place(volume, tmp_path, monkeypatch, mode):
    monkeypatch.setenv(TRUSTED, str(volume))
    (volume / "..data" / "master.key").chmod(mode)
    assert "others may write to" in refusal(volume / "master.key", tmp_path)


def test_a_folder_that_others_may_write_to_is_refused_unless_it_is_sticky(volume, tmp_path, key, monkeypatch):
    monkeypatch.setenv(TRUSTED, str(volume))
    volume.chmod(0o777)
    assert f"others may write to {volume}." in refusal(volume / "master.key", tmp_path)
    volume.chmod(0o1777)
    assert read_key_file(volume / "master.key", tmp_path / "storage") == key.to_text()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_link_or_a_file_of_another_user_is_refused_also_in_a_trusted_place(volume, tmp_path, monkeypatch):
    monkeypatch.setenv(TRUSTED, str(volume))
    os.chown(volume / "..data", 12345, 12345, follow_symlinks=False)
    assert f"{volume}/..data belongs to another user" in refusal(volume / "master.key", tmp_path)
    os.chown(volume / "..data", 0, 0, follow_symlinks=False)
    os.chown(volume / "..data" / "master.key", 12345, 12345)
    assert "belongs to another user" in refusal(volume / "master.key", tmp_path)


def test_a_ring_of_links_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv(TRUSTED, str(tmp_path))
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    assert "cannot be opened" in refusal(tmp_path / "a", tmp_path)


def test_a_trusted_path_must_be_absolute(volume, tmp_path, monkeypatch):
    monkeypatch.setenv(TRUSTED, "keys")
    with pytest.raises(SettingsError, match="not absolute: keys"):
        read_key_file(volume / "master.key", tmp_path / "storage")


@needs_mounts
def test_a_secret_volume_of_kubernetes_is_read_by_a_user_of_its_group(key):
    script = (
        "path = kubernetes('/mnt/keys', 'master.key', mode=0o440, group=2000); become(1000, 2000); read(path)"
    )
    assert run_in_pod(script, key.to_text()) == key.kek_id


@needs_mounts
def test_a_user_who_may_not_read_the_volume_is_told_what_to_set(key):
    script = "path = kubernetes('/mnt/keys', 'master.key', mode=0o400); become(1000); read(path)"
    assert "fsGroup" in run_in_pod(script, key.to_text())


@needs_mounts
def test_the_same_volume_on_a_mount_that_can_be_written_needs_trust(key):
    script = "path = kubernetes('/mnt/keys', 'master.key', mode=0o440, group=2000, writable=True); become(1000, 2000)"
    assert "is a symbolic link" in run_in_pod(f"{script}; read(path)", key.to_text())
    assert run_in_pod(f"{script}; read(path, {TRUSTED}='/mnt/keys')", key.to_text()) == key.kek_id


@needs_mounts
def test_a_file_that_docker_mounts_read_only_is_read(key):
    script = "path = bound('/mnt/keys/master.key', mode=0o444); become(1000); read(path)"
    assert run_in_pod(script, key.to_text()) == key.kek_id


@needs_mounts
@pytest.mark.parametrize("path", ["/run/secrets/master_key", "/var/run/secrets/app/master_key"])
def test_a_secret_below_run_secrets_is_read(key, path):
    script = f"path = file('{path}', mode=0o444); become(1000); read(path)"
    assert run_in_pod(script, key.to_text()) == key.kek_id


@needs_mounts
def test_a_credential_of_systemd_is_read(key):
    script = (
        "path = file('/run/credentials/nightly.service/master.key', mode=0o440, group=1000); become(1000); "
        "read(path, CREDENTIALS_DIRECTORY='/run/credentials/nightly.service')"
    )
    assert run_in_pod(script, key.to_text()) == key.kek_id


@needs_mounts
def test_a_file_of_another_user_is_refused_also_on_a_read_only_mount(key):
    script = "path = bound('/mnt/keys/master.key', mode=0o444, owner=1234); become(1000); read(path)"
    assert "belongs to another user" in run_in_pod(script, key.to_text())
