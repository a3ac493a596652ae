"""Small faults in source code, one at a time: operators, comparisons, constants, returned names, removed clamps.

Only the bodies of functions are changed. Messages of errors, default values, and what a pattern names are left
alone. The rest of the file keeps its text, because a fault replaces that of one node.
"""

import ast
import copy
import re
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

OPERATORS: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Pow: ast.Mult,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
}
COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.GtE,
    ast.GtE: ast.Lt,
    ast.Gt: ast.LtE,
    ast.LtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
REMOVED = ("clamp", "clamp_", "nan_to_num", "detached", "flip")  # calls of methods
EXCHANGED = {"min": "max", "max": "min", "minimum": "maximum", "maximum": "minimum", "any": "all", "all": "any"}


class Mutation(NamedTuple):
    """One fault."""

    function: str  # with the names of the classes around it
    line: int
    kind: str
    before: str
    after: str
    number: int  # of the same ones before it in the function
    source: str  # the whole file

    @property
    def name(self) -> str:
        """What it is, whatever line it stands in."""
        again = f", place {self.number + 1}" if self.number else ""
        return f"{self.function}: {self.before}  ->  {self.after}{again}"


def mutations(source: str, *, only: str = "", skip: str = "$^") -> Iterator[Mutation]:
    """Yield the faults of a file, in order.

    Args:
        source: text of the file.
        only: pattern of the functions that are changed.
        skip: pattern of functions and of text that are left alone.
    """
    tree = ast.parse(source)
    lines, times = source.splitlines(keepends=True), Counter()
    for function, body in _functions(tree):
        if re.search(skip, function) or not re.search(only, function):
            continue
        for node in _nodes(body):
            for kind, place, after in _faults(node):
                begin, end = _span(lines, place)
                before, text = source[begin:end], ast.unparse(after)
                if re.search(skip, before):
                    continue
                text = text if isinstance(place, ast.stmt) else f"({text})"
                what = function, kind, _short(before), _short(text)
                changed = source[:begin] + text + source[end:]
                yield Mutation(function, node.lineno, *what[1:], times[what], changed)
                times[what] += 1


def _functions(tree: ast.AST, above: str = "") -> Iterator[tuple[str, list[ast.stmt]]]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            name = f"{above}.{node.name}" if above else node.name
            if isinstance(node, ast.FunctionDef):
                yield name, node.body
            else:
                yield from _functions(node, name)


def _nodes(body: list[ast.stmt]) -> Iterator[ast.stmt | ast.expr]:
    """Yield the nodes that a fault may replace: not in messages, docstrings, annotations, or inner definitions."""
    for node in body:
        yield from _below(node)


def _below(node: ast.AST) -> Iterator[ast.stmt | ast.expr]:
    if isinstance(node, ast.Raise | ast.JoinedStr | ast.Assert | ast.Import | ast.ImportFrom):
        return
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return
    if isinstance(node, ast.stmt | ast.expr):
        yield node
    for name, field in ast.iter_fields(node):
        if name in ("annotation", "returns", "decorator_list", "args") and isinstance(node, ast.FunctionDef):
            continue
        if name == "annotation":
            continue
        for child in field if isinstance(field, list) else [field]:
            if isinstance(child, ast.AST):
                yield from _below(child)


def _faults(node: ast.stmt | ast.expr) -> Iterator[tuple[str, ast.stmt | ast.expr, ast.AST]]:
    """Yield the faults of a node: the kind, what is replaced, and what stands in its place."""
    if isinstance(node, ast.BinOp) and type(node.op) in OPERATORS and not _is_text(node):
        yield "operator", node, _with(node, op=OPERATORS[type(node.op)]())
    elif isinstance(node, ast.Compare) and type(node.ops[0]) in COMPARISONS:
        yield "comparison", node, _with(node, ops=[COMPARISONS[type(node.ops[0])](), *node.ops[1:]])
    elif isinstance(node, ast.BoolOp):
        yield "operator", node, _with(node, op=ast.Or() if isinstance(node.op, ast.And) else ast.And())
    elif isinstance(node, ast.UnaryOp):
        yield "operator", node, node.operand
    elif isinstance(node, ast.Constant) and isinstance(node.value, bool | int | float):
        yield "constant", node, ast.Constant(_other(node.value))
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute | ast.Name):
        yield from _faults_of_call(node, node.func)
    elif isinstance(node, ast.If | ast.IfExp) and isinstance(node.test, ast.Name | ast.Attribute | ast.Call):
        yield "condition", node.test, ast.UnaryOp(ast.Not(), node.test)
    elif isinstance(node, ast.Return) and isinstance(node.value, ast.Tuple) and len(node.value.elts) > 1:
        yield "returned names", node, _with(node, value=_with(node.value, elts=node.value.elts[::-1]))
    elif isinstance(node, ast.AugAssign) or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)):
        yield "statement removed", node, ast.Pass()


def _faults_of_call(
    node: ast.Call, called: ast.Attribute | ast.Name
) -> Iterator[tuple[str, ast.stmt | ast.expr, ast.AST]]:
    if isinstance(called, ast.Name):
        if called.id in EXCHANGED:
            yield "call exchanged", called, ast.Name(EXCHANGED[called.id])
    elif called.attr in EXCHANGED:
        yield "call exchanged", called, _with(called, attr=EXCHANGED[called.attr])
    elif called.attr in REMOVED and not isinstance(called.value, ast.Name):
        yield "call removed", node, called.value


def _other(value: bool | int | float) -> bool | int | float:
    if isinstance(value, bool):
        return not value
    return value + 1 if isinstance(value, int) else value * 1.5 or 1.0


def _is_text(node: ast.BinOp) -> bool:
    return any(
        isinstance(n, ast.JoinedStr) or (isinstance(n, ast.Constant) and isinstance(n.value, str))
        for n in (node.left, node.right)
    )


def _with(node: ast.AST, **fields: object) -> ast.AST:
    changed = copy.copy(node)
    for name, value in fields.items():
        setattr(changed, name, value)
    return changed


def _span(lines: list[str], node: ast.stmt | ast.expr) -> tuple[int, int]:
    """Return where a node begins and ends, in characters of the file."""
    places = []
    for line, column in ((node.lineno, node.col_offset), (node.end_lineno or 0, node.end_col_offset or 0)):
        text = lines[line - 1].encode()[:column].decode()
        places.append(sum(map(len, lines[: line - 1])) + len(text))
    return places[0], places[1]


def _short(text: str) -> str:
    return " ".join(text.split())[:100]
