"""Shows a gate in CI services: annotations of GitHub, and JUnit XML."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from xml.etree import ElementTree

from bench_core.errors import brief
from bench_core.records.gate import GateRecord, GateVerdict, JudgedCell
from bench_core.report.gate.words import change, effect, grouped, has_order, headline, measured, shortened, version
from bench_core.texts import line, workflow_command, xml

ANNOTATIONS = 10
"""The most annotations of one kind that GitHub shows for one step."""

OWNER = "bench-core gate"
"""The title of annotations, and the JUnit class of cases that are no cells."""


@dataclass(frozen=True)
class Place:
    """Lines of a file in the repository."""

    file: str
    first: int
    last: int


def workflow_commands(record: GateRecord, verdict: GateVerdict, places: Mapping[str, Place] | None = None) -> list[str]:
    """Workflow commands for GitHub: errors for regressions, warnings for what is inconclusive, at most 10 of each.

    Args:
        places: the changed lines that make a cell slower, by its name. The annotation stands there.
    """
    if record.identical:
        return []
    found = grouped(verdict.cells)
    at = places or {}
    because = {one.cell: f". {one.sentence}" for one in record.causes}
    errors: list[_Annotation] = [
        ("fails with head", f"{brief(cell.name)}: {cell.judgement.reason}") for cell in found.broken
    ]
    errors += [
        (change(cell), f"{brief(cell.name)}: {measured(cell)}{because.get(cell.name, '')}", at.get(cell.name))
        for cell in found.slower
    ]
    if verdict.suite is not None and verdict.suite.verdict == "regression":
        errors.append(("all cells together", f"all cells together: {effect(verdict.suite.ratio)}"))
    if verdict.past is not None and verdict.past.verdict == "regression":
        errors.append(("since the past version", shortened(verdict.past.reason, verdict)))
    if verdict.verdict == "error" and not errors:
        errors.append(("error", headline(verdict)))
    warnings: list[_Annotation] = (
        [("a control found a difference", headline(verdict))] if verdict.control_differs else []
    )
    warnings += [("not a fair pair", what) for what in record.unfair]
    warnings += [("failed once and not again", shortened(stray, verdict)) for stray in record.strays]
    warnings += [
        ("inconclusive", f"{brief(cell.name)}: {cell.judgement.reason}") for cell in (*found.unknown, *found.unreached)
    ]
    return [*_annotated("error", errors), *_annotated("warning", warnings)]


_Annotation = tuple[str, str] | tuple[str, str, Place | None]
"""A title and a text, and perhaps a place."""


def _annotated(kind: str, found: Sequence[_Annotation]) -> Iterator[str]:
    shown = len(found) if len(found) <= ANNOTATIONS else ANNOTATIONS - 1
    for title, text, *rest in found[:shown]:
        place = rest[0] if rest else None
        at = {} if place is None else {"file": place.file, "line": str(place.first), "endLine": str(place.last)}
        yield workflow_command(kind, text, **at, title=f"{OWNER}: {title}")
    if shown < len(found):
        yield workflow_command(kind, f"and {len(found) - shown} more; the job's summary lists them", title=OWNER)


def junit(record: GateRecord, verdict: GateVerdict) -> str:
    """JUnit XML, with a test case for each cell, measured or not, and for all cells together."""
    suite = ElementTree.Element("testsuite", name=OWNER)
    _add_properties(suite, record, verdict)
    for cell in verdict.cells:
        case = _case(suite, cell.name, cell.evidence.spent)
        if found := _outcome(cell):
            message = measured(cell) if cell.verdict == "regression" else cell.judgement.reason
            ElementTree.SubElement(case, found, message=line(message), type=cell.verdict)
        if lost := cell.evidence.strays:
            ElementTree.SubElement(case, "system-out").text = xml(_again(lost))
    for name, reason in record.left_out.items():
        ElementTree.SubElement(_case(suite, name), "skipped", message=line(reason), type="left out")
    for name in record.unaffected:
        ElementTree.SubElement(_case(suite, name), "skipped", message="the change cannot reach it", type="unaffected")
    if verdict.suite is not None:
        failure = f"{effect(verdict.suite.ratio)}, {verdict.suite.reason}"
        _add_case(suite, "all cells together", failure if verdict.suite.verdict == "regression" else "")
    if verdict.past is not None:
        failure = verdict.past.reason if verdict.past.verdict == "regression" else ""
        _add_case(suite, "since the past version", failure)
    if verdict.verdict == "error" and suite.find("testcase/error") is None:
        _add_case(suite, "gate", verdict.reason, outcome="error")
    if record.faults:
        ElementTree.SubElement(suite, "system-out").text = xml(_again(record.faults))
    suite.set("tests", str(len(suite.findall("testcase"))))
    for attribute, outcome in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        suite.set(attribute, str(len(suite.findall(f"testcase/{outcome}"))))
    suite.set("time", f"{record.seconds:.3f}")
    suite.set("timestamp", line(record.date))
    root = ElementTree.Element("testsuites")
    root.append(suite)
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def _again(strays: Sequence[str]) -> str:
    return "\n".join(f"failed once and not again: {stray}" for stray in strays)


def _add_properties(suite: ElementTree.Element, record: GateRecord, verdict: GateVerdict) -> None:
    properties = ElementTree.SubElement(suite, "properties")
    for name, text in (
        *([("seed", str(record.settings.seed))] if has_order(record) else []),
        ("base", version(record.base)),
        ("head", version(record.head)),
        *((f"machine.{name}", text) for name, text in record.machine.items()),
        ("verdict", verdict.verdict),
        ("reason", verdict.reason),
        *(("note", note) for note in record.notes),
    ):
        ElementTree.SubElement(properties, "property", name=line(name), value=line(text))


def _case(suite: ElementTree.Element, name: str, spent: float = 0.0) -> ElementTree.Element:
    """Add a case for a cell."""
    owner = name.partition("(")[0].rpartition(".")[0] or OWNER
    rest = name.removeprefix(f"{owner}.")
    return ElementTree.SubElement(suite, "testcase", classname=line(owner), name=line(rest), time=f"{spent:.3f}")


def _add_case(suite: ElementTree.Element, name: str, message: str, outcome: str = "failure") -> None:
    """Add a case that is no cell. If there is no message, it passes."""
    case = ElementTree.SubElement(suite, "testcase", classname=OWNER, name=name, time="0.000")
    if message:
        kind = "regression" if outcome == "failure" else outcome
        ElementTree.SubElement(case, outcome, message=line(message), type=kind)


def _outcome(cell: JudgedCell) -> str | None:
    if cell.verdict == "error":
        return "error" if cell.evidence.error_side == "head" else "skipped"
    return {"regression": "failure", "inconclusive": "skipped"}.get(cell.verdict)
