"""A gate for machines that show it to people: annotations of GitHub, and JUnit's XML."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from xml.etree import ElementTree

from bench_core.records.gate import GateRecord, GateVerdict
from bench_core.report.gate.words import Row, effect, grouped, version

ANNOTATIONS = 10
"""Annotations of one kind that GitHub shows for one step; what is beyond is not shown."""


def workflow_commands(record: GateRecord, verdict: GateVerdict) -> list[str]:
    """Workflow commands for GitHub: errors for what is red, warnings for what is inconclusive, at most 10 of each."""
    if record.identical:
        return []
    found = grouped(record, verdict)
    errors = [("fails with head", f"{row.cell.name}: {row.judged.reason}") for row in found.broken]
    errors += [
        (row.change, f"{row.cell.name}: {row.change}, {' → '.join(row.times)}, {row.pairs}") for row in found.slower
    ]
    if verdict.suite is not None and verdict.suite.verdict == "regression":
        errors.append(("suite as a whole", f"suite as a whole: {effect(verdict.suite.ratio)}"))
    if verdict.creep is not None and verdict.creep.verdict == "regression":
        errors.append(("creep", verdict.creep.reason))
    if verdict.verdict == "error" and not errors:
        errors.append(("error", verdict.reason))
    warnings = [("control rejects", verdict.reason)] if verdict.control_rejects else []
    warnings += [("not a fair pair", what) for what in record.unfair]
    warnings += [("inconclusive", f"{row.cell.name}: {row.judged.reason}") for row in found.unknown]
    return [*_annotated("error", errors), *_annotated("warning", warnings)]


def _annotated(kind: str, found: Sequence[tuple[str, str]]) -> Iterator[str]:
    shown = len(found) if len(found) <= ANNOTATIONS else ANNOTATIONS - 1
    for title, text in found[:shown]:
        yield f"::{kind} title={_property(f'bench-core gate: {title}')}::{_data(text)}"
    if shown < len(found):
        yield f"::{kind} title=bench-core gate::and {len(found) - shown} more; the job's summary lists them"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


_ILLEGAL = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What XML 1.0 does not allow, not even escaped."""


def junit(record: GateRecord, verdict: GateVerdict) -> str:
    """JUnit's XML: a test case a cell, one for the suite as a whole, and one for each that was left out."""
    suite = ElementTree.Element("testsuite", name="bench-core gate")
    properties = ElementTree.SubElement(suite, "properties")
    for name, text in (
        ("seed", str(record.settings.seed)),
        ("base", version(record.base)),
        ("head", version(record.head)),
        *((f"machine.{name}", text) for name, text in record.machine.items()),
        ("verdict", verdict.verdict),
        ("reason", verdict.reason),
    ):
        ElementTree.SubElement(properties, "property", name=_legal(name), value=_legal(text))
    for row in (Row(*both) for both in zip(record.cells, verdict.cells, strict=True)):
        case = _case(suite, row.cell.name, row.cell.spent)
        if outcome := _outcome(row):
            ElementTree.SubElement(case, outcome, message=_legal(_message(row)), type=row.judged.verdict)
    for name, reason in record.left_out.items():
        ElementTree.SubElement(_case(suite, name), "skipped", message=_legal(reason), type="left out")
    if verdict.suite is not None:
        case = ElementTree.SubElement(suite, "testcase", classname="bench-core gate", name="suite", time="0.000")
        if verdict.suite.verdict == "regression":
            message = f"{effect(verdict.suite.ratio)}, {verdict.suite.reason}"
            ElementTree.SubElement(case, "failure", message=_legal(message), type="regression")
    if verdict.creep is not None:
        case = ElementTree.SubElement(suite, "testcase", classname="bench-core gate", name="creep", time="0.000")
        if verdict.creep.verdict == "regression":
            ElementTree.SubElement(case, "failure", message=_legal(verdict.creep.reason), type="regression")
    if verdict.verdict == "error" and suite.find("testcase/error") is None:
        case = ElementTree.SubElement(suite, "testcase", classname="bench-core gate", name="gate", time="0.000")
        ElementTree.SubElement(case, "error", message=_legal(verdict.reason), type="error")
    for attribute, path in (("tests", "."), ("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        cases = suite.findall("testcase" if path == "." else f"testcase/{path}")
        suite.set(attribute, str(len(cases)))
    suite.set("time", f"{record.seconds:.3f}")
    suite.set("timestamp", _legal(record.date))
    root = ElementTree.Element("testsuites")
    root.append(suite)
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def _case(suite: ElementTree.Element, name: str, spent: float = 0.0) -> ElementTree.Element:
    owner = name.partition("(")[0].rpartition(".")[0] or "bench-core gate"
    rest = name.removeprefix(f"{owner}.")
    return ElementTree.SubElement(suite, "testcase", classname=_legal(owner), name=_legal(rest), time=f"{spent:.3f}")


def _outcome(row: Row) -> str | None:
    if row.judged.verdict == "error":
        return "error" if row.cell.error_side == "head" else "skipped"
    return {"regression": "failure", "inconclusive": "skipped"}.get(row.judged.verdict)


def _message(row: Row) -> str:
    if row.judged.verdict == "regression":
        return f"{row.change}, {' → '.join(row.times)}, {row.pairs}"
    return row.judged.reason


def _legal(text: str) -> str:
    return _ILLEGAL.sub("", text)
