"""JMESPath expressions (https://jmespath.org) that the author of a workflow writes over its data, within limits."""

from __future__ import annotations

import re
from typing import Any

from sealflow.errors import WorkflowError
from sealflow.wording import closest, shown
from sealflow.workflow.execution import check_data

MAX_LENGTH = 8_000
MAX_BRACKETS = 400
MAX_LEVELS = 50
MAX_FOUND = 1_000_000
"""Items that an expression finds, each counted as often as it occurs: 60 times [@,@] is 80 characters."""

_BRACKET = re.compile(r"'(?:[^'\\]|\\.)*+'?|`(?:[^`\\]|\\.)*+`?|\"(?:[^\"\\]|\\.)*+\"?|[\[\](){}]", re.DOTALL)


def check_expression(expression: str) -> str:
    """Return the expression. Raises ValueError, saying why, for one that cannot be parsed or is too large to be."""
    import jmespath
    from jmespath.exceptions import JMESPathError

    _check_size(expression)
    try:
        parsed = jmespath.compile(expression).parsed
    except JMESPathError as error:
        problem = str(error).split("\n", maxsplit=1)[0]
    except RecursionError:
        problem = "it is nested too deeply"
    else:
        _check_functions(parsed)
        return expression
    raise ValueError(f"it is not a JMESPath expression ({problem})")


def search(expression: str, data: Any, *, what: str, path: str) -> Any:
    """Return what a checked expression finds in ``data``; None where it finds nothing.

    ``what`` and ``path`` name the expression in a message. Raises WorkflowError where it does not fit the data, and
    where it needs or finds too much.
    """
    import jmespath
    from jmespath.exceptions import JMESPathTypeError

    from sealflow.workflow.interpreter import BoundedInterpreter, TooMuchWorkError

    try:
        found = BoundedInterpreter().visit(jmespath.compile(expression).parsed, data)
    except TooMuchWorkError:
        raise WorkflowError(
            f"{what} makes too much work", hint="Write a simpler one, or give it less data", path=path
        ) from None
    except JMESPathTypeError as error:
        expected = " or ".join(map(str, error.expected_types))
        problem = f"the function {error.function_name}() takes {expected}, and was given {error.actual_type}"
    # The library lets errors of Python through: 'a' < `1`, contains('a', `1`), ceil(`1e999`).
    except (ValueError, TypeError, ArithmeticError, RecursionError) as error:
        problem = type(error).__name__
    else:
        check_data(found, f"what {what} finds", max_items=MAX_FOUND)
        return found
    raise WorkflowError(
        f"{what} does not fit its input ({problem})", hint="Look at the input's shape", path=path
    )


def is_true(value: Any) -> bool:
    """Whether JMESPath takes a value for true: not null, false, or an empty string, list or mapping. Zero is true."""
    return value is not None and value is not False and value not in ("", [], {})


def _check_functions(parsed: Any) -> None:
    """Refuse, by ValueError, a function that JMESPath does not have."""
    from jmespath.functions import Functions

    waiting = [parsed]
    while waiting:
        node = waiting.pop()
        if not isinstance(node, dict):
            continue
        name = node.get("value")
        if node.get("type") == "function_expression" and name not in Functions.FUNCTION_TABLE:
            hint = closest(str(name), Functions.FUNCTION_TABLE, what="functions")
            raise ValueError(f"there is no JMESPath function {shown(name)}. {hint}")
        waiting.extend(node.get("children", ()))


def _check_size(expression: str) -> None:
    """Refuse, by ValueError, what would take the parser long or make it recurse deeply."""
    if len(expression) > MAX_LENGTH:
        raise ValueError(f"it has more than {MAX_LENGTH} characters")
    level = 0
    brackets = [match[0] for match in _BRACKET.finditer(expression) if len(match[0]) == 1]
    if len(brackets) > MAX_BRACKETS:
        raise ValueError(f"it has more than {MAX_BRACKETS} brackets")
    for bracket in brackets:
        level += 1 if bracket in "[({" else -1
        if level > MAX_LEVELS:
            raise ValueError(f"it is nested more than {MAX_LEVELS} levels deep")
