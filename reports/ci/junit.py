"""A run as JUnit's XML, which every CI system shows: one test case a scenario, what broke as its text.

``failure``: a broken promise or an assertion. ``error``: not proven, or no stack to run on. In the dialect of
pytest's ``xunit2`` (https://docs.pytest.org/en/stable/how-to/output.html#creating-junitxml-format-files), with the
``file`` and ``line`` that GitLab links to.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from xml.etree import ElementTree

from reports.results import Kind, ScenarioResult

_TAGS: dict[Kind, str] = {
    "broken promise": "failure",
    "scenario error": "failure",
    "not proven": "error",
    "environment": "error",
}
_NOT_IN_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit_xml(results: Sequence[ScenarioResult], *, began_at: str) -> bytes:
    """The whole file."""
    tags = [_TAGS.get(result.kind, "") for result in results]
    suites = ElementTree.Element("testsuites", name="gauntlet")
    suite = ElementTree.SubElement(
        suites,
        "testsuite",
        name="scenarios",
        tests=str(len(results)),
        failures=str(tags.count("failure")),
        errors=str(tags.count("error")),
        skipped="0",
        time=f"{sum(result.took_s for result in results):.3f}",
        timestamp=began_at[:19],
    )
    for result, tag in zip(results, tags, strict=True):
        _add_case(suite, result, tag)
    ElementTree.indent(suites)
    document: bytes = ElementTree.tostring(suites, encoding="utf-8", xml_declaration=True)
    return document + b"\n"


def _add_case(suite: ElementTree.Element, result: ScenarioResult, tag: str) -> None:
    place, _, name = result.name.rpartition("::")
    module = f"scenarios.{place.removesuffix('.py')}" if place else "gauntlet"
    about = {"classname": _clean(module), "name": _clean(name)}
    about |= {"file": result.file} if result.file else {}
    about |= {"line": str(result.line)} if result.line else {}
    case = ElementTree.SubElement(suite, "testcase", about, time=f"{result.took_s:.3f}")
    if tag:
        why = ElementTree.SubElement(case, tag, type=result.kind, message=_clean(result.headline))
        why.text = _clean(result.text)


def _clean(text: str) -> str:
    """Without the control characters that no XML may hold, even escaped."""
    return _NOT_IN_XML.sub("�", text)
