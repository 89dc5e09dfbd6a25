"""Gates as JUnit XML, which CI systems show: a test case each, failed or, where nothing can be told, in error."""

from __future__ import annotations

from xml.etree import ElementTree

from harness.load.result import LoadResult


def junit_xml(result: LoadResult) -> str:
    """The whole file."""
    tags = {"fail": "failure", "inconclusive": "error"}
    counts = {tag: sum(gate.status == status for gate in result.gates) for status, tag in tags.items()}
    suite = ElementTree.Element(
        "testsuite", name=f"load {result.profile}", tests=str(len(result.gates)),
        failures=str(counts["failure"]), errors=str(counts["error"]),
    )  # fmt: skip
    for gate in result.gates:
        name = f"{gate.gate} ({gate.endpoint})" if gate.endpoint else gate.gate
        case = ElementTree.SubElement(suite, "testcase", classname=f"load.{result.profile}", name=name)
        if gate.status in tags:
            ElementTree.SubElement(case, tags[gate.status], message=gate.says, type=gate.status).text = gate.says
        else:
            ElementTree.SubElement(case, "system-out").text = gate.says
    ElementTree.indent(suite)
    return ElementTree.tostring(suite, encoding="unicode", xml_declaration=True) + "\n"
