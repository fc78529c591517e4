"""``check`` names what looks like a reference, or like an expression, and is not one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sealflow import WorkflowError
from sealflow.workflow.check import Finding, Known, check_file
from sealflow.workflow.expressions import check_expression, search


def findings(tmp_path: Path, text: str) -> list[Finding]:
    node = {"type": "http-request", "config": {"url": "https://example.com/", "query": {"q": text}}}
    file = tmp_path / "w.json"
    file.write_text(json.dumps({"sealflow": 1, "name": "w", "nodes": {"a": node}}))
    return check_file(file, Known({})).findings


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("{{secret.x.y}}", "{{secrets.NAME.FIELD}}"),
        ("{{input | upper}}", "path alone"),
        ("{{ anything }}", "as it is written"),
    ],
)
def test_what_is_sent_as_it_is_written_is_named(tmp_path, text, hint):
    [found] = findings(tmp_path, text)
    assert found.reference == text
    assert "sent as it is written" in found.problem
    assert hint in (found.hint or "")


def test_the_column_is_that_of_the_braces(tmp_path):
    one, two = findings(tmp_path, "{{a}} and {{b}}")
    assert two.column - one.column == len("{{a}} and ")


@pytest.mark.parametrize("text", ["\\{{ as it is }}", "{{input.city}}", "no braces"])
def test_what_is_meant_is_not_named(tmp_path, text):
    assert findings(tmp_path, text) == []


def test_a_dollar_in_front_of_a_reference_is_named(tmp_path):
    assert any("$" in item.problem for item in findings(tmp_path, "${{ secrets.x.y }}"))


def test_an_unknown_function_is_refused_with_the_closest_one():
    with pytest.raises(ValueError, match=r"no JMESPath function 'len'. Did you mean 'length'\?"):
        check_expression("items[?len(@) > `1`]")


def test_a_wrong_type_names_function_and_types_and_no_data():
    with pytest.raises(WorkflowError) as caught:
        search("length(a)", {"a": 5117}, what="when", path="when")
    assert "length()" in str(caught.value)
    assert "number" in str(caught.value)
    assert "5117" not in str(caught.value)


def test_an_unquoted_reference_in_yaml_is_to_be_quoted(tmp_path):
    file = tmp_path / "w.yaml"
    file.write_text(
        "sealflow: 1\nname: w\nnodes:\n  a:\n    type: http-request\n    config:\n      url: {{secrets.a.b}}\n"
    )
    [found] = check_file(file, Known({})).findings
    assert "must be in quotes" in found.problem
    assert found.line == 7
