"""Values in the encodings of the platforms that echo, each made by the platform's own encoder where there is one."""

from __future__ import annotations

import base64
import csv
import html
import io
import json
import os
import random
import shlex
import shutil
import subprocess
import textwrap
import urllib.parse
import xml.sax.saxutils

import pytest
import yarl

from sealflow.resolver.encodings import number_spellings
from sealflow.resolver.redactor import Redactor

ALPHABETS = {
    "hex": "0123456789abcdef",
    "base62": "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789",
    "base64": "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=",
    "url": "abcdefghij-._~:/?#[]@!$&'()*+,;=%",
    "printable": "".join(map(chr, range(0x20, 0x7F))),
    "quotes": "ab'\"`\\$ ",
    "markup": "ab<>&\"';/",
    "latin": "abcäöüßéèñçøå€’",
    "cyrillic": "абвгдежзиклмноп",
    "cjk": "秘密鍵暗号値日本語中文한국어",
    "emoji": "ab😀🔑🚀é",
    "control": "ab\n\t\r\x01\x7f\x85\u2028",
}


def random_values(count: int = 4) -> list[str]:
    chance = random.Random(20261125)
    return [
        "v" + "".join(chance.choice(alphabet) for _ in range(chance.randint(10, 60))) + "z"
        for alphabet in ALPHABETS.values()
        for _ in range(count)
    ]


VALUES = random_values(84 if os.environ.get("SEALFLOW_TORTURE") else 4)


def redactor_of(value) -> Redactor:
    redactor = Redactor()
    redactor.add(value)
    return redactor


def assert_masked(value: str, coded: str, how: str) -> None:
    """Between two brackets nothing of the value is left; around it nothing is lost."""
    cleaned = redactor_of(value).clean(f"<< {coded} >>")
    assert cleaned.startswith("<< "), how
    assert cleaned.endswith(" >>"), how
    left = cleaned[3:-3].replace("***", "")
    # What the encoder puts around the value, and characters that it shares with that, stay.
    assert len(left) <= 16, (how, coded, cleaned)
    assert value[:6] not in left, how
    assert value[-6:] not in left, how
    assert "***" in cleaned, (how, coded)


def lower_hex(quoted: str) -> str:
    head, *rest = quoted.split("%")
    return head + "".join(f"%{part[:2].lower()}{part[2:]}" for part in rest)


def php_rawurlencode(value: str) -> str:
    return urllib.parse.quote(value, safe="-._~")


def java_urlencoder(value: str) -> str:
    return urllib.parse.quote_plus(value, safe="*-._").replace("~", "%7E")


def go_json(value: str) -> str:
    coded = json.dumps(value, ensure_ascii=False)[1:-1]
    for char in "<>&\u2028\u2029":
        coded = coded.replace(char, f"\\u{ord(char):04x}")
    return coded


def named_entities(value: str) -> str:
    from html.entities import codepoint2name

    return "".join(
        f"&{codepoint2name[ord(char)]};" if ord(char) in codepoint2name else char for char in value
    )


def dollar_quoted(value: str) -> str:
    return "$'" + value.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n") + "'"


def octal(value: str) -> str:
    return "".join(
        chr(byte) if 0x20 < byte < 0x7F and byte != 0x5C else f"\\{byte:03o}" for byte in value.encode()
    )


def b64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def csv_field(value: str) -> str:
    out = io.StringIO()
    csv.writer(out, quoting=csv.QUOTE_ALL).writerow([value])
    return out.getvalue().rstrip("\r\n")


ENCODERS = {
    "itself": str,
    "Python quote": urllib.parse.quote,
    "Python quote, all": lambda value: urllib.parse.quote(value, safe=""),
    "Python quote_plus": urllib.parse.quote_plus,
    "Python quote in lower case": lambda value: lower_hex(urllib.parse.quote(value, safe="")),
    "every byte quoted": lambda value: "".join(f"%{byte:02x}" for byte in value.encode()),
    "PHP rawurlencode": php_rawurlencode,
    "PHP urlencode": lambda value: php_rawurlencode(value).replace("%20", "+").replace("~", "%7E"),
    "Java URLEncoder": java_urlencoder,
    ".NET UrlEncode": lambda value: lower_hex(urllib.parse.quote_plus(value, safe="-_.!*()")),
    ".NET EscapeDataString": lambda value: urllib.parse.quote(value, safe="-_.~"),
    "yarl": lambda value: str(
        yarl.URL.build(scheme="http", host="h", path="/").with_query(k=value)
    ).partition("k=")[2],
    "yarl path": lambda value: (
        str(yarl.URL("http://h") / value.replace("/", "_").replace("\0", ""))[9:]
        if "/" not in value
        else value
    ),
    "Python json": lambda value: json.dumps(value)[1:-1],
    "Python json, not ASCII": lambda value: json.dumps(value, ensure_ascii=False)[1:-1],
    "JSON with escaped slashes": lambda value: json.dumps(value)[1:-1].replace("/", "\\/"),
    "JSON in upper hex": lambda value: "".join(f"\\u{ord(c):04X}" if ord(c) < 0x10000 else c for c in value),
    "Go json": go_json,
    "Python repr": lambda value: repr(value)[1:-1],
    "Python ascii": lambda value: ascii(value)[1:-1],
    "Python bytes": lambda value: repr(value.encode())[2:-1],
    "html.escape": html.escape,
    "XML": lambda value: xml.sax.saxutils.escape(value, {'"': "&quot;", "'": "&apos;"}),
    "XML quoteattr": lambda value: xml.sax.saxutils.quoteattr(value)[1:-1],
    "HTML named": named_entities,
    "HTML decimal": lambda value: "".join(
        f"&#{ord(char)};"
        if not char.isalnum() and ord(char) > 31 and ord(char) not in range(127, 160)
        else char
        for char in value
    ),
    "HTML hex": lambda value: "".join(
        f"&#x{ord(char):X};" if ord(char) > 126 and ord(char) not in range(127, 160) else char
        for char in value
    ),
    "hex": lambda value: value.encode().hex(),
    "HEX": lambda value: value.encode().hex().upper(),
    "hex with colons": lambda value: value.encode().hex(":"),
    "hex with spaces": lambda value: value.encode().hex(" "),
    "shlex.quote": shlex.quote,
    "shell, single quotes": lambda value: "'" + value.replace("'", "'\\''") + "'",
    "shell, backslashes": lambda value: "".join(c if c.isalnum() or c == "\n" else "\\" + c for c in value),
    "shell, dollar quotes": dollar_quoted,
    "octal": octal,
    "SQL": lambda value: "'" + value.replace("'", "''") + "'",
    "CSV": csv_field,
    "UTF-16 LE": lambda value: value.encode("utf-16-le").decode("latin-1"),
    "UTF-16 BE": lambda value: value.encode("utf-16-be").decode("latin-1"),
    "UTF-16 in base64": lambda value: b64(value.encode("utf-16-le")),
    "UTF-16 in hex": lambda value: value.encode("utf-16-be").hex(),
    "UTF-8 read as Latin-1": lambda value: value.encode().decode("latin-1"),
    "UTF-8 read as Windows-1252": lambda value: (
        value.encode().decode("cp1252", "ignore")
        if value.encode().decode("cp1252", "ignore").encode("cp1252") == value.encode()
        else value
    ),
    **{
        f"base64 at {shift}": (
            lambda value, shift=shift: b64(b"\0" * shift + value.encode())[2 if shift else 0 :]
        )
        for shift in range(3)
    },
    "base64url": lambda value: base64.urlsafe_b64encode(value.encode()).decode().rstrip("="),
    "base64 folded at 76": lambda value: base64.encodebytes((value * 3).encode()).decode(),
    "base64 folded at 64, CRLF": lambda value: "\r\n".join(textwrap.wrap(b64((value * 3).encode()), 64)),
    "JSON in JSON": lambda value: json.dumps(json.dumps(value))[1:-1],
    "JSON in a url": lambda value: urllib.parse.quote(json.dumps(value)),
    "url in a url": lambda value: urllib.parse.quote(urllib.parse.quote(value)),
    "url in JSON": lambda value: json.dumps("https://h/?q=" + urllib.parse.quote(value, safe="")),
    "HTML in JSON": lambda value: json.dumps(html.escape(value)),
    "JSON in base64": lambda value: b64(json.dumps({"k": value}).encode()),
    "url in base64": lambda value: b64(("k=" + urllib.parse.quote_plus(value)).encode()),
    "base64 in base64": lambda value: b64(b64(value.encode()).encode()),
    "base64 in a url": lambda value: urllib.parse.quote(b64(value.encode()), safe=""),
    "base64 in hex": lambda value: b64(value.encode()).encode().hex(),
    "hex in words, as xxd writes it": lambda value: " ".join(
        value.encode().hex()[at : at + 4] for at in range(0, len(value.encode()) * 2, 4)
    ),
    "hex in double words": lambda value: " ".join(
        value.encode().hex()[at : at + 8] for at in range(0, len(value.encode()) * 2, 8)
    ),
    "decimal entities that end with a space": lambda value: (
        "".join(f"&#{ord(char)} " for char in value) if value.isprintable() else value
    ),
    "hex in base64": lambda value: b64(value.encode().hex().encode()),
    "mojibake in JSON": lambda value: json.dumps(value.encode().decode("latin-1")),
}


@pytest.mark.parametrize("how", ENCODERS)
def test_an_encoded_value_is_masked(how):
    for value in VALUES:
        assert_masked(value, ENCODERS[how](value), how)


def test_a_text_that_holds_no_value_is_not_changed():
    redactor = redactor_of(VALUES)
    for how, encode in ENCODERS.items():
        text = encode("nothing of it: 'äö' <b>&\"\\ 100% /path?x=1")
        assert redactor.clean(text) == text, how


NODE = """
const values = JSON.parse(require('fs').readFileSync(0, 'utf8'));
const encoders = {
  encodeURI, encodeURIComponent, escape, 'JSON.stringify': JSON.stringify,
  'JSON twice': v => JSON.stringify(JSON.stringify(v)),
  URLSearchParams: v => new URLSearchParams({k: v}).toString(),
  'URL path': v => new URL('http://h/' + encodeURIComponent(v)).href,
  base64: v => Buffer.from('u:' + v).toString('base64'), base64url: v => Buffer.from(v).toString('base64url'),
  hex: v => Buffer.from(v).toString('hex'), latin1: v => Buffer.from(v).toString('latin1'),
  utf16: v => Buffer.from(v, 'utf16le').toString('base64'),
  inspect: v => require('util').inspect(v), querystring: v => require('querystring').escape(v),
};
console.log(JSON.stringify(Object.entries(encoders).map(([how, f]) => [how, values.map(v => f(v))])));
"""


@pytest.mark.skipif(shutil.which("node") is None, reason="Node.js is not installed")
def test_what_node_js_encodes_is_masked():
    done = subprocess.run(
        ["node", "-e", NODE], input=json.dumps(VALUES), capture_output=True, text=True, check=True
    )
    for how, coded in json.loads(done.stdout):
        for value, text in zip(VALUES, coded, strict=True):
            assert_masked(value, text, how)


@pytest.mark.skipif(shutil.which("jq") is None, reason="jq is not installed")
@pytest.mark.parametrize("how", ["@uri", "@html", "@sh", "@base64", "@json", "[.] | @csv", "[.] | @tsv"])
def test_what_jq_encodes_is_masked(how):
    done = subprocess.run(
        ["jq", "-c", f"[.[] | {how}]"], input=json.dumps(VALUES), capture_output=True, text=True, check=True
    )
    for value, text in zip(VALUES, json.loads(done.stdout), strict=True):
        assert_masked(value, text, how)


@pytest.mark.skipif(shutil.which("base64") is None, reason="coreutils is not installed")
@pytest.mark.parametrize("width", [64, 76, 20])
def test_what_base64_folds_is_masked(width):
    for value in VALUES[::3]:
        content = ("user:" + value).encode()
        done = subprocess.run(["base64", f"-w{width}"], input=content, capture_output=True, check=True)
        cleaned = redactor_of(value).clean(done.stdout.decode())
        assert "***" in cleaned
        assert len(cleaned) < 24


@pytest.mark.parametrize("length", [16, 24, 40, 200])
def test_a_value_cut_short_at_either_end_is_masked(length):
    chance = random.Random(length)
    value = "".join(chance.choice(ALPHABETS["base62"]) for _ in range(length))
    redactor, cut = redactor_of(value), length // 8
    for part in (value[cut:], value[:-cut], value[cut:-cut], value[1:], value[:-1]):
        assert redactor.clean(f"<{part}>") == "<***>"
        assert redactor.clean(f"<{urllib.parse.quote(json.dumps(part))}>") == "<%22***%22>"


def test_less_than_that_is_not_masked():
    value = "0a1b2c3d4e5f6071" * 2
    text = f"<{value[:16]}>"
    assert redactor_of("x" + value[1:]).clean(text) == text


@pytest.mark.parametrize(
    ("number", "spelled"),
    [
        (
            12345678,
            ["12345678", "-12345678", "12345678.0", "12,345,678", "12.345.678", "12_345_678", "1.2345678e7"],
        ),
        (12345678, ["1.2345678E+07", "12 345 678", "12'345'678", "bc614e", "0xBC614E", '{"pin":12345678}']),
        (-12345678, ["-12345678", "12345678", "(12,345,678)"]),
        (2.5e10, ["2.5e10", "2.5e+10", "2.5E10", "25000000000", "25000000000.0", "25,000,000,000"]),
        (0.123456, ["0.123456", "1.23456e-01", "1.23456E-1", "0,123456", "-0.123456"]),
        (1234.5678, ["1234.5678", "1,234.5678", "1.234,5678", "1.2345678e3"]),
    ],
)
def test_a_number_in_another_spelling_is_masked(number, spelled):
    redactor = redactor_of({"pin": number})
    for text in spelled:
        assert "***" in redactor.clean(f"<{text}>"), text
        assert not any(digit in redactor.clean(f"<{text}>").replace(".0", "") for digit in "123456789"), text


@pytest.mark.parametrize("number", [12345678, -12345678, 12345678.0, 2.5e10, 25000000000])
def test_a_number_in_data_is_masked_whatever_its_type(number):
    assert redactor_of([12345678, 2.5e10]).clean_value([number]) == ["***"]


def test_numbers_that_are_not_finite_have_no_spelling():
    assert number_spellings(float("nan")) == number_spellings(float("inf")) == set()


def test_a_hostile_text_is_cleaned_in_bounded_time():
    """Ten thousand of each escape, nested, would be thousands of views without a limit."""
    text = (
        urllib.parse.quote("%25&amp;\\u0026\\\\\0Ã©" * 10_000) + b64(bytes(range(256)) * 100) + "ab" * 10_000
    )
    assert redactor_of("hunter2-value").clean(text) == text
