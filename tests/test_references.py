from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from sealflow import Reference, ReferenceSyntaxError, SecretValidationError, find_references
from sealflow.model.places import substituted
from sealflow.model.references import parse


def only(text: str) -> Reference:
    (found,) = find_references(text)
    return found.reference


@pytest.mark.parametrize(
    ("text", "name", "field", "provider"),
    [
        ("{{secrets.github.token}}", "github", ("token",), None),
        ("{{ secrets.github.token }}", "github", ("token",), None),
        ("{{\tsecrets.github.token  }}", "github", ("token",), None),
        ("{{secrets.a-b_C9.x}}", "a-b_C9", ("x",), None),
        ("{{secrets.db.server.port}}", "db", ("server", "port"), None),
        ("{{secrets.db.hosts.0.name}}", "db", ("hosts", "0", "name"), None),
        ("{{secrets.github}}", "github", (), None),
        ("{{secrets.vault:github.token}}", "github", ("token",), "vault"),
        ('{{secrets.vault:"team/app/github".token}}', "team/app/github", ("token",), "vault"),
        ('{{secrets."a.b".c}}', "a.b", ("c",), None),
        ('{{secrets.x."dotted.field"."q\\"uote"}}', "x", ("dotted.field", 'q"uote'), None),
        ('{{secrets."ünï }} code".x}}', "ünï }} code", ("x",), None),
        ("{{secrets.secrets.secrets}}", "secrets", ("secrets",), None),
        ("{{secrets._." + "f" * 128 + "}}", "_", ("f" * 128,), None),
    ],
)
def test_a_reference_is_read(text, name, field, provider):
    assert only(text) == Reference(name, field, provider)
    assert only(f"before {text} after" if field else text) == Reference(name, field, provider)
    assert only(str(only(text))) == only(text)


@pytest.mark.parametrize(
    "text",
    [
        "{{ other.x }}",
        "{{}}",
        "{{ secret.x }}",
        "{secrets.x.y}",
        "{{",
        "}}",
        "plain",
        "",
        "${{ github.token }}",
        "{{ not secrets.x }}",
        "\\{{secrets.x",
    ],
)
def test_other_braces_are_left_alone(text):
    assert find_references(text) == []
    assert substituted(text, lambda *_: "VALUE") == text.replace("\\{{", "{{")


@pytest.mark.parametrize(
    ("text", "column", "said"),
    [
        ("{{secrets}}", 1, "names no secret"),
        ("{{secrets.}}", 11, "missing"),
        ("{{secrets..y}}", 11, "missing"),
        ("{{secrets.x.}}", 13, "missing"),
        ("{{secrets.x.y}", 1, "not closed"),
        ("{{secrets.x.y", 1, "not closed"),
        ("{{secrets.", 1, "not closed"),
        ("{{secrets", 10, "dot"),
        ("{{secrets x.y}}", 10, "dot"),
        ("{{secrets.x y}}", 13, "not allowed in a name"),
        ("{{secrets.team/app.token}}", 15, "not allowed in a name"),
        ("{{secrets.-x.y}}", 11, "cannot begin"),
        ("{{secrets.x.y|upper}}", 14, "not allowed in a name"),
        ("{{Secrets.x.y}}", 1, "lower case"),
        ("{{ SECRETS.x.y}}", 1, "lower case"),
        ("{{secretsx.y}}", 1, "begins like"),
        ("{{\nsecrets.x.y}}", 1, "spaces and tabs"),
        ("{{secrets.x.y\n}}", 14, "not allowed in a name"),
        ('{{secrets."x.y}}', 11, "does not end"),
        ('{{secrets."".y}}', 11, "empty"),
        ('{{secrets."\\q".y}}', 11, "JSON"),
        ('{{secrets."v/w":x.y}}', 16, "never quoted"),
        ("{{secrets.v:.y}}", 13, "missing"),
        ("ab {{secrets.x.y} {{secrets.x.z}}", 4, "not closed"),
        ("text {{secrets.x}} text", 6, "needs a field"),
        ("{{secrets.x}}{{secrets.x}}", 1, "needs a field"),
        ("{{secrets." + "n" * 129 + ".y}}", 139, "not allowed in a name"),
    ],
)
def test_a_malformed_reference_is_refused_with_column_and_hint(text, column, said):
    with pytest.raises(ReferenceSyntaxError, match=said) as caught:
        find_references({"auth": {"list": [text]}})
    assert caught.value.column == column
    assert caught.value.path == "auth.list[0]"
    assert caught.value.hint
    assert "\n" not in str(caught.value)


def test_references_are_found_anywhere_with_their_paths():
    config = {
        "a": "{{secrets.x.y}}",
        "b": [1, None, {"c d": ("{{secrets.p:z}}",)}],
        "e.f": "1 {{secrets.x.y}} 2 {{secrets.q.r}}",
        "g": True,
    }
    assert [(found.path, str(found.reference)) for found in find_references(config)] == [
        ("a", "{{secrets.x.y}}"),
        ("b[2].c d[0]", "{{secrets.p:z}}"),
        ('"e.f"', "{{secrets.x.y}}"),
        ('"e.f"', "{{secrets.q.r}}"),
    ]


def test_references_in_keys_are_refused():
    with pytest.raises(ReferenceSyntaxError, match="key"):
        find_references({"a": {"x {{secrets.x.y}}": 1}})


def test_endless_nesting_is_refused():
    loop: list = []
    loop.append(loop)
    with pytest.raises(ReferenceSyntaxError, match="deep"):
        find_references(loop)


values = (
    st.sampled_from(["$&", "\\1", "{{secrets.x.y}}", "\\{{", "}}", "😀", "\0", "\\", "%s", "{0}"]) | st.text()
)
around = st.text(st.characters(exclude_categories=["Cs"])).filter(lambda text: "{{" not in text)


@given(around, values, around)
def test_any_text_around_and_any_value_inside_survive(before, value, after):
    assume(not before.endswith(("\\", "{")))
    assert (
        substituted({"k": [before + "{{secrets.x.y}}" + after]}, lambda *_: value)
        == {"k": [before + value + after]}
        or not before + after
    )


@given(values, values)
def test_what_a_value_contains_is_never_parsed_again(one, two):
    found = {"a": one, "b": two}
    result = substituted("-{{secrets.n.a}}={{secrets.n.b}}-", lambda reference, _: found[reference.field[0]])
    assert result == f"-{one}={two}-"


@given(st.text(alphabet='{}secrets.\\" :xA0_-\t\n', max_size=40))
def test_any_text_parses_or_is_refused_and_never_breaks(text):
    try:
        template = parse(text)
    except ReferenceSyntaxError as error:
        assert 1 <= error.column <= len(text) + 1
    else:
        for span in template.spans:
            assert text[span.start : span.start + 2] == "{{"
            assert text[span.end - 2 : span.end] == "}}"


@given(
    st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,127}", fullmatch=True),
    st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), max_size=4),
)
def test_every_reference_reads_as_it_is_written(name, field):
    reference = Reference(name, tuple(field))
    assert only(str(reference)) == reference


@pytest.mark.parametrize(("value", "text"), [(5, "5"), (True, "true"), (0.5, "0.5"), ("x", "x")])
def test_a_value_inside_a_text_becomes_text_and_alone_keeps_its_type(value, text):
    assert substituted("a{{secrets.x.y}}", lambda *_: value) == f"a{text}"
    alone = substituted("{{secrets.x.y}}", lambda *_: value)
    assert alone == value
    assert type(alone) is type(value)


@pytest.mark.parametrize("value", [["hunter2hunter2"], {"a": "hunter2hunter2"}])
def test_a_list_or_mapping_inside_a_text_is_refused(value):
    with pytest.raises(SecretValidationError) as caught:
        substituted({"k": "a{{secrets.x.y}}"}, lambda *_: value)
    assert (caught.value.path, caught.value.secret, caught.value.field) == ("k", "x", "y")
    assert "hunter2" not in str(caught.value)


def test_the_config_itself_stays_as_it_is():
    config = {"a": ["{{secrets.x.y}}"], "n": None, "t": (1,)}
    assert substituted(config, lambda *_: "v") == {"a": ["v"], "n": None, "t": [1]}
    assert config == {"a": ["{{secrets.x.y}}"], "n": None, "t": (1,)}
