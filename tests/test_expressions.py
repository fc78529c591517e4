"""JMESPath over data: what the library finds, and an end to expressions that make too much work."""

from __future__ import annotations

import subprocess
import sys

import jmespath
import pytest

from killing import without_coverage
from sealflow import WorkflowError
from sealflow.workflow.execution import check_data
from sealflow.workflow.expressions import search

DATA = {
    "a": {"b": {"c": 1}},
    "text": "one two",
    "zero": 0,
    "people": [
        {"name": "Ann", "age": 31, "tags": ["x", "y"], "state": {"id": "s1"}},
        {"name": "Bob", "age": 20, "tags": [], "state": {"id": "s2"}},
        {"name": "Cyd", "age": 25, "tags": ["y"], "state": None},
    ],
    "nested": [[1, 2], [3, [4]], 5],
    "ops": {"one": {"n": 1}, "two": {"n": 2}, "three": "none"},
    "myarray": ["foo", "foobar", "bar", "barfoo"],
}
EXPRESSIONS = """
a.b.c
a.x.c
a."b"
people[0].name
people[-1]
people[9]
people[*].name
people[:2].age
people[::-1].name
people[?age > `21`].name
people[?age >= `25` && contains(tags, 'y')].{name: name, age: age}
people[?state].state.id
people[?state == `null`].name
people[?tags == `["x", "y"]`].name
people[?!tags || name == 'Cyd'].name
people[].tags[]
people[*].tags[*]
people[*].[name, age]
nested[]
nested[][]
ops.*.n
ops.*
a | b
people[*].name | [0]
[text, zero, missing]
missing.[a, b]
zero == `false`
!zero
text == 'one two'
text < 'two'
`{"a": [1, 2]}`.a[1]
@
abs(`-3`)
avg(people[].age)
ceil(`1.2`)
contains(myarray, 'foo')
contains(text, 'two')
contains(nested, `[1, 2]`)
ends_with(text, 'two')
floor(`1.8`)
join(', ', myarray)
keys(ops) | sort(@)
length(text)
length(people)
length(ops)
map(&name, people)
max(people[].age)
max_by(people, &age).name
merge(a, {d: `1`})
min(myarray)
min_by(people, &age).name
not_null(missing, zero, text)
reverse(text)
reverse(myarray)
sort(myarray)
sort_by(people, &age)[].name
starts_with(text, 'one')
sum(people[].age)
to_array(text)
to_number('12')
to_number('1.5')
to_number('x')
to_string(people)
to_string(text)
type(people)
values(ops)
""".strip().splitlines()


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_an_expression_finds_what_the_library_finds(expression):
    assert search(expression, DATA, what="it", path="p") == jmespath.search(expression, DATA)


PAIR, TWICE = "|[@,@]", "|join('',[@,@])"
WIDE = "|[" + ",".join("@" * 50) + "]"
BOMBS = {
    "shared lists": "'x'" + PAIR * 60,
    "shared lists written": "'x'" + PAIR * 60 + "|to_string(@)",
    "shared lists compared": "'x'" + PAIR * 60 + "|@ == @",
    "shared lists searched": "'x'" + PAIR * 60 + "|[[@], @]|contains([0], [1])",
    "shared lists flattened": "'x'" + PAIR * 30 + "|" + "[]" * 28 + "|length(@)",
    "strings doubled 26 times": "'xxxxxxxxxxxxxxxx'" + TWICE * 26 + "|length(@)",
    "strings doubled 40 times": "'x'" + TWICE * 40,
    "astral strings": "'\U0001f600'" + TWICE * 22 + "|[@, @]|to_string(@)",
    "separators": "'xxxx'" + "|join(@, ['', '', ''])" * 40,
    "strings of strings": "`0`" + "|to_string([@, @])" * 40,
    "a long string many times": "'x'" + TWICE * 18 + WIDE * 4,
    "lists doubled": "[`1`]" + "|[@,@][]" * 45,
    "lists sorted": "[`1`]" + "|[@,@][]" * 17 + "|sort(@)" * 60,
    "lists cut": "[`1`]" + "|[@,@][]" * 17 + "|[0:]" * 60,
    "long numbers": "[`" + "9" * 4000 + "`]" + "|[@,@][]" * 16 + "|to_string(@)",
    "projections": "@" + WIDE * 4 + "|[*][*][*].[[*].a, [*].b, [*].c]",
    "maps": "@" + WIDE * 4 + "|map(&map(&map(&map(&[@, @], @), @), @), @)",
}
MEASURE = """
import sys, time
from sealflow.errors import WorkflowError
from sealflow.workflow.expressions import check_expression, search
check_expression(sys.argv[1])
search("a", {"a": 1}, what="it", path="p")
began = time.process_time()
try:
    search(sys.argv[1], {"a": 1}, what="it", path="p")
    raise SystemExit("it was evaluated")
except WorkflowError as error:
    message = str(error)
seconds = time.process_time() - began
assert "too much work" in message or "holds more than" in message, message
assert seconds < 1, seconds
# Not ru_maxrss: a process inherits that from the one that started it.
peak = next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM")) / 1024
assert peak < 200, peak
print(round(seconds, 2), round(peak))
"""


@pytest.mark.slow
@pytest.mark.parametrize("name", BOMBS)
def test_an_expression_that_makes_too_much_work_is_ended(name):
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, BOMBS[name]],
        env=without_coverage(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
    print(done.stdout)


MANY = {
    "items": [
        {"name": f"n{number}", "id": number, "tags": ["a", "b"], "active": number % 2 == 0}
        for number in range(10_000)
    ],
    "text": "é" * 1_000_000,
}


@pytest.mark.parametrize(
    "expression",
    [
        "items[?active && contains(tags, 'a')].{name: name, id: to_string(id), tags: length(tags)}",
        "sort_by(items, &name)[].name | join(', ', @)",
        "map(&join('-', [name, to_string(id)]), items)",
        "items[].tags[] | length(@)",
        "to_string(items)",
        "items == items",
        "[contains(text, 'x'), starts_with(text, 'é'), length(text), text]",
        "join('', [text, text])",
        "@",
    ],
)
def test_an_expression_over_10000_items_or_a_million_characters_is_evaluated(expression):
    assert search(expression, MANY, what="it", path="p") == jmespath.search(expression, MANY)


@pytest.mark.parametrize(
    "expression", ["text < `1`", "contains(text, `1`)", "ceil(`1e999`)", "people[::0]", "sum(myarray)"]
)
def test_an_expression_that_does_not_fit_is_an_error_with_its_place(expression):
    with pytest.raises(WorkflowError, match="does not fit its input") as caught:
        search(expression, DATA, what="it", path="config.expression")
    assert caught.value.path == "config.expression"


def test_a_long_string_that_occurs_many_times_is_too_much_for_an_output():
    with pytest.raises(WorkflowError, match="more than 100,000,000 characters"):
        check_data(["x" * 1_000_000] * 101, "the output")
