"""The examples of docs/how-to/containers.md, as the files, modes, owners and mounts that the platforms make of them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from pods import needs_mounts, run_in_pod

PAGE = (Path(__file__).parent.parent / "docs" / "how-to" / "containers.md").read_text(encoding="utf-8")


def section(heading):
    """Return the text of one section."""
    return re.search(rf"^## {heading}\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)[1]


def value(text, pattern):
    return re.search(pattern, text)[1]


@needs_mounts
def test_the_pod_of_kubernetes_finds_its_key(key):
    text = section("Kubernetes")
    path, folder = value(text, r"value: (\S+)"), value(text, r"mountPath: (\S+)")
    group, user = value(text, r"fsGroup: (\d+)"), value(text, r"runAsUser: (\d+)")
    mode = value(text, r"defaultMode: 0(\d+)")
    script = (
        f"kubernetes('{folder}', 'master.key', mode=0o{mode}, group={group}); "
        f"become({user}, {group}); read('{path}')"
    )
    assert run_in_pod(script, key.to_text()) == key.kek_id


@needs_mounts
def test_the_unit_of_systemd_finds_its_key(key):
    text = section("systemd")
    folder = "/run/credentials/nightly.service"
    name = value(text, r"LoadCredential=([^:]+):")
    path = value(text, r"KEY_FILE=(\S+)").replace("%d", folder)
    script = (  # readable for the user by an access control list, which shows as the mode of the group
        f"file('{folder}/{name}', mode=0o440, group=1000); become(1000); read('{path}', CREDENTIALS_DIRECTORY='{folder}')"
    )
    assert run_in_pod(script, key.to_text()) == key.kek_id


@needs_mounts
@pytest.mark.parametrize("heading", ["Docker", "Compose"])
@pytest.mark.parametrize(("owner", "mode"), [(1000, "600"), (1000, "644"), (0, "444")])
def test_the_container_finds_its_key(key, heading, owner, mode):
    path = value(section(heading), r"KEY_FILE(?:=|: )(/run/\S+)")
    user = value(section(heading), r"user:? \"?(\d+)")
    script = f"bound('{path}', mode=0o{mode}, owner={owner}); become({user}); read('{path}')"
    assert run_in_pod(script, key.to_text()) == key.kek_id


def test_the_container_takes_its_key_from_standard_input(own_world, key):
    path = value(section("Docker"), r"KEY_FILE=(/dev/\S+)")
    done = subprocess.run(
        [sys.executable, "-m", "sealflow", "init"],
        env={**os.environ, "WORKFLOW_SECRETS_MASTER_KEY_FILE": path},
        input=key.to_text(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_the_line_of_cron_runs_with_an_empty_environment(own_world, key, tmp_path):
    text = value(section("cron"), r"(?s)```text\n(.*?)```")
    files = {"/home/nightly": str(tmp_path), "/srv/nightly": str(own_world)}
    for old, new in files.items():
        text = text.replace(old, new)
    text = text.replace("/usr/local/bin/sealflow", f"{sys.executable} -P -m sealflow")
    lines = text.splitlines()
    variables = dict(line.split("=", 1) for line in lines if re.match(r"[A-Z_]+=", line))
    command = lines[-1].split(maxsplit=5)[5]
    (tmp_path / "master.key").write_text(key.to_text())
    (tmp_path / "master.key").chmod(0o600)
    (own_world / "nightly.yaml").write_text(
        "sealflow: 1\nname: nightly\nnodes:\n  a: {type: transform, config: {expression: '@'}}\n"
    )
    given = {
        "HOME": str(tmp_path),
        "LOGNAME": "nightly",
        "SHELL": "/bin/sh",
        "PATH": "/usr/bin:/bin",
        **variables,
    }
    for arguments in (f"cd {own_world} && {sys.executable} -P -m sealflow init", command):
        done = subprocess.run(
            ["/bin/sh", "-c", arguments], env=given, cwd="/", capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
