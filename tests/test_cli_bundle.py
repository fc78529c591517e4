"""``sealflow export`` and ``sealflow import``: what they print, refuse and record."""

from __future__ import annotations

import json

import pytest


@pytest.fixture
def phrase(one_secret, own_world):
    file = own_world / "phrase.key"
    file.write_text("five random words for it\n")
    file.chmod(0o600)
    return ("--passphrase-file", str(file))


@pytest.fixture
def bundle(cli, phrase):
    assert cli("export", *phrase, "--to", "bundle").code == 0
    return "bundle"


def test_export_counts_the_secrets(cli, phrase):
    assert "Wrote 1 secret" in cli("export", *phrase, "--to", "bundle").out


def test_export_takes_names(cli, phrase):
    done = cli("export", "a", *phrase, "--to", "bundle", "--json")
    assert json.loads(done.out)["secrets"] == 1


def test_export_cannot_ask_for_a_passphrase_without_a_terminal(cli, one_secret):
    assert cli("export", "--to", "bundle").code == 2


def test_export_is_in_the_audit_trail(cli, bundle):
    assert json.loads(cli("audit", "--json").out)[-1]["action"] == "export"


def test_import_refuses_names_that_are_in_use(cli, bundle, phrase):
    assert cli("import", bundle, *phrase).code == 1


def test_import_can_skip_names_that_are_in_use(cli, bundle, phrase):
    done = cli("import", bundle, *phrase, "--skip-existing", "--json")
    assert json.loads(done.out)["skipped"] == ["a"]


def test_import_can_make_new_versions(cli, bundle, phrase):
    assert "1 updated" in cli("import", bundle, *phrase, "--update").out


def test_import_does_not_both_update_and_skip(cli, bundle, phrase):
    assert cli("import", bundle, *phrase, "--update", "--skip-existing").code == 2
