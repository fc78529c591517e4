"""Negative controls: the canary sees what it is there to see. Each leak is a test of its own in a pytest of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

CONFTEST = """
import sys
sys.path.insert(0, {tests!r})
pytest_plugins = ["canary"]
"""

PREAMBLE = """
import asyncio, base64, json, logging, sqlite3, urllib.parse
import pytest
import sealflow
from sealflow import BaseNode, NodeConfig, Workflow, run_workflow
from sealflow.resolver.redactor import Redactor

VALUE = "hunter2 & <hunter2>"

@pytest.fixture
def service(tmp_path):
    with sealflow.open_service(tmp_path / "s", master_key=sealflow.MasterKey.generate()) as opened:
        opened.create_secret("github", "bearer_token", {"token": VALUE})
        yield opened

class Leak(BaseNode):
    type_name = "leak"
    class Config(NodeConfig):
        token: str
    async def process(self, context, config):
        context.log.warning("the token is %s", config.token)
        return {"token": config.token}

def run(service):
    workflow = Workflow("w", [Leak("n", {"token": "{{secrets.github.token}}"})])
    return asyncio.run(run_workflow(workflow, service=service))
"""

LEAKS = {
    "stdout": "print(service.get_secret('github').data['token'])",
    "stderr": "import sys; print(VALUE, file=sys.stderr)",
    "a log at DEBUG": "logging.getLogger('x').debug('value=%s', VALUE)",
    "a file": "(tmp_path / 'f').write_text(VALUE)",
    "a file's name": "(tmp_path / 'a').mkdir(); (tmp_path / 'a' / VALUE).touch()",
    "a file in base64": "(tmp_path / 'f').write_bytes(base64.b64encode(b'x' + VALUE.encode() + b'yy'))",
    "a file in hex": "(tmp_path / 'f').write_text(VALUE.encode().hex().upper())",
    "a file in utf-16": "(tmp_path / 'f').write_bytes(VALUE.encode('utf-16'))",
    "a quoted url": "print(urllib.parse.quote('http://h/?q=' + VALUE))",
    "a file in folded base64": "(tmp_path / 'f').write_bytes(base64.encodebytes(b'x' * 40 + VALUE.encode() + b'y' * 40))",
    "a file in UTF-16, big-endian": "(tmp_path / 'f').write_bytes(VALUE.encode('utf-16-be'))",
    "a file in UTF-16 in base64": "(tmp_path / 'f').write_bytes(base64.b64encode(VALUE.encode('utf-16-le')))",
    "a url quoted in lower case": "print(urllib.parse.quote(VALUE, safe='').replace('%3C', '%3c').replace('%3E', '%3e'))",
    "a url quoted twice": "print(urllib.parse.quote(urllib.parse.quote(VALUE)))",
    "JSON as Go writes it": "print(VALUE.replace('&', r'\\u0026').replace('<', r'\\u003c').replace('>', r'\\u003e'))",
    "XML": "print('hunter2 &amp; &lt;hunter2&gt;')",
    "hex with colons": "print(VALUE.encode().hex(':'))",
    "base64 twice": "print(base64.b64encode(base64.b64encode(VALUE.encode())).decode())",
    "a value cut short": "print(VALUE[2:-2])",
    "the extra of a log record": """
        class Show(logging.Handler):
            def emit(self, record): print(record.token)
        logger = logging.getLogger("x"); logger.addHandler(Show())
        logger.warning("m", extra={"token": VALUE})""",
    "a database": """
        with sqlite3.connect(tmp_path / "db") as db:
            db.execute("CREATE TABLE t (v TEXT)")
            db.execute("INSERT INTO t VALUES (?)", (VALUE,))
        db.close()""",
    "an error that was expected": """
        with pytest.raises(ValueError):
            raise ValueError(VALUE)""",
    "an error's cause": """
        with pytest.raises(RuntimeError):
            try:
                json.loads('"' + VALUE)
            except ValueError as error:
                raise RuntimeError("x") from error""",
    "an error's context, hidden by from None": """
        with pytest.raises(RuntimeError):
            try:
                json.loads('"' + VALUE)
            except ValueError:
                raise RuntimeError("x") from None""",
    "an error of ours, swallowed": """
        try:
            raise sealflow.SecretNotFoundError(VALUE, hint="x")
        except sealflow.SecretNotFoundError:
            pass""",
    "a node that logs, the redactor off": """
        monkeypatch.setattr(Redactor, "clean", lambda self, text: text)
        run(service)""",
    "an execution, the redactor off": """
        monkeypatch.setattr(Redactor, "clean_value", lambda self, value: value)
        run(service)""",
    "the master key": """
        key = sealflow.MasterKey.generate()
        (tmp_path / "note.txt").write_text(key.to_text())""",
}
CLEAN = {
    "the same node with the redactor": "run(service); assert service.get_secret('github').data['token'] == VALUE",
    "a test that says so": "print(VALUE)",
    "a file that was named": "(tmp_path / 'pem').write_text(VALUE)",
}
MARKS = {
    "a test that says so": "@pytest.mark.reveals('why')",
    "a file that was named": "@pytest.mark.value_files('pem')",
}


def test_the_canary_sees_each_leak_and_nothing_else(pytester: pytest.Pytester):
    pytester.makeconftest(CONFTEST.format(tests=str(Path(__file__).parent)))
    pytester.makeini("[pytest]\nlog_level = DEBUG\n")
    source = PREAMBLE
    for number, (name, body) in enumerate({**LEAKS, **CLEAN}.items()):
        lines = [line.removeprefix("        ") for line in body.strip().splitlines()]
        source += f"\n{MARKS.get(name, '')}\ndef test_{number}(service, tmp_path, monkeypatch):\n"
        source += "\n".join(f"    {line}" for line in lines) + "\n"
    pytester.makepyfile(test_leaks=source)
    result = pytester.runpytest_subprocess("-q", "-p", "no:xdist", "-p", "no:cacheprovider", "-rA")
    outcomes = {line.split("::test_")[1].split()[0]: line for line in result.outlines if "::test_" in line}
    for number, name in enumerate({**LEAKS, **CLEAN}):
        line = outcomes[str(number)]
        assert line.startswith("FAILED" if name in LEAKS else "PASSED"), f"{name}: {line}"
    canaries = [line for line in result.outlines if line.startswith("CANARY: a secret's value stands in")]
    assert len(canaries) >= len(LEAKS)
    assert not any("hunter2" in line for line in canaries)  # it says where, and not what
