"""The catalogues of seeded bugs: each can be planted into the code as it is, and a stale one says so."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from chaos.seeded_bugs.catalogue import CHECKERS, Bug, CatalogueError, Edit, load_catalogue, plant
from harness.checks import ALL
from harness.target import PROJECT_ROOT, load_target
from scenarios.kill_matrix.checkers import killers_of

TOML = """
[A01]
name = "a bug"
story = "It breaks."
source = "nowhere"
expect = ["stage_chain"]
scenario = "test_x.py::test_y"
[[A01.edit]]
file = "system_under_test/crm.py"
old = "one"
new = "two"
"""


def bug(*edits: tuple[str, str, str]) -> Bug:
    whole = tuple(Edit(file=file, old=old, new=new) for file, old, new in edits)
    return Bug(name="a bug", story="", source="", expect=(), scenario="", edit=whole)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    package = tmp_path / "source" / "system_under_test"
    (package / "__pycache__").mkdir(parents=True)
    (package / "crm.py").write_text("one\ntwo\ntwo\n", encoding="utf-8")
    (package / "other.py").write_text("left alone\n", encoding="utf-8")
    (package / "__pycache__" / "crm.pyc").write_bytes(b"stale")
    return tmp_path / "source"


CRM = "system_under_test/crm.py"


def test_a_planted_bug_is_in_the_copy_only(source: Path, tmp_path: Path) -> None:
    root = plant(bug((CRM, "one", "three")), source, tmp_path / "copy")
    assert root == tmp_path / "copy"
    assert (root / CRM).read_text() == "three\ntwo\ntwo\n"
    assert (root / "system_under_test" / "other.py").read_text() == "left alone\n"
    assert (source / CRM).read_text() == "one\ntwo\ntwo\n"


def test_no_compiled_file_of_the_original_comes_along(source: Path, tmp_path: Path) -> None:
    assert not (plant(bug((CRM, "one", "x")), source, tmp_path / "copy") / "system_under_test" / "__pycache__").exists()


def test_edits_of_one_file_build_on_each_other(source: Path, tmp_path: Path) -> None:
    root = plant(bug((CRM, "one", "first"), (CRM, "first\ntwo", "both")), source, tmp_path / "copy")
    assert (root / CRM).read_text() == "both\ntwo\n"


def test_edits_of_two_files_are_both_planted(source: Path, tmp_path: Path) -> None:
    root = plant(bug((CRM, "one", "x"), ("system_under_test/other.py", "left", "y")), source, tmp_path / "copy")
    assert (root / CRM).read_text().startswith("x")
    assert (root / "system_under_test" / "other.py").read_text() == "y alone\n"


def test_other_parts_of_a_project_are_planted_as_well_if_they_are_named(source: Path, tmp_path: Path) -> None:
    (source / "judge.py").write_text("one\n", encoding="utf-8")
    (source / "left.py").write_text("behind\n", encoding="utf-8")
    root = plant(bug(("judge.py", "one", "two")), source, tmp_path / "copy", ("judge.py", "system_under_test"))
    assert (root / "judge.py").read_text() == "two\n"
    assert (root / CRM).exists()
    assert not (root / "left.py").exists()


def test_a_bug_of_what_is_not_copied_cannot_be_planted(source: Path, tmp_path: Path) -> None:
    (source / "judge.py").write_text("one\n", encoding="utf-8")
    with pytest.raises(CatalogueError, match=r"judge\.py is in none of system_under_test"):
        plant(bug(("judge.py", "one", "two")), source, tmp_path / "copy")
    assert not (tmp_path / "copy").exists()


@pytest.mark.parametrize(
    ("file", "old", "says"),
    [
        (CRM, "gone", "holds 0 times"),
        (CRM, "two", "holds 2 times"),
        (CRM, "", r"\(empty\)"),
        ("system_under_test/no.py", "x", "no.py"),
    ],
)
def test_a_stale_edit_says_so_and_copies_nothing(source: Path, tmp_path: Path, file: str, old: str, says: str) -> None:
    with pytest.raises(CatalogueError, match=says) as raised:
        plant(bug((CRM, "one", "x"), (file, old, "y")), source, tmp_path / "copy")
    assert str(raised.value).startswith("stale: ")
    assert not (tmp_path / "copy").exists()


def test_a_catalogue_is_read_by_id(tmp_path: Path) -> None:
    path = tmp_path / "catalogue.toml"
    path.write_text(TOML)
    known = load_catalogue(path)
    assert known["A01"].edit == (Edit(file=CRM, old="one", new="two"),)
    assert known["A01"].expect == ("stage_chain",)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("[A01", "table"),
        (TOML.replace("story", "tale"), "A01|story|tale"),
        (TOML.replace('"two"', "2"), r"edit\[0\]\.new"),
    ],
)
def test_a_broken_catalogue_is_an_error_that_names_file_and_place(tmp_path: Path, content: str, says: str) -> None:
    path = tmp_path / "catalogue.toml"
    path.write_text(content)
    with pytest.raises(CatalogueError, match=says) as raised:
        load_catalogue(path)
    assert str(path) in str(raised.value)


def test_a_missing_catalogue_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(CatalogueError, match=r"nowhere\.toml"):
        load_catalogue(tmp_path / "nowhere.toml")


TARGETS = {target.name: target for target in map(load_target, sorted((PROJECT_ROOT / "targets").glob("*.toml")))}
KNOWN = {name: load_catalogue(PROJECT_ROOT / target.bugs) for name, target in TARGETS.items() if target.bugs}
BUGS = [(target, bug) for target, known in KNOWN.items() for bug in known]


@pytest.mark.parametrize(("target", "name"), BUGS)
def test_every_bug_of_a_catalogue_can_be_planted_into_the_system_as_it_is(
    tmp_path: Path, target: str, name: str
) -> None:
    assert_can_be_planted(KNOWN[target][name], tmp_path, *TARGETS[target].source)


def assert_can_be_planted(known: Bug, folder: Path, *parts: str) -> None:
    root = plant(known, PROJECT_ROOT, folder / "copy", parts)
    for edit in known.edit:
        planted, original = (base / edit.file for base in (root, PROJECT_ROOT))
        assert planted.read_text(encoding="utf-8") != original.read_text(encoding="utf-8")
        if planted.suffix == ".py":
            compile(planted.read_text(encoding="utf-8"), edit.file, "exec")


@pytest.mark.parametrize(("target", "name"), BUGS)
def test_every_bug_of_a_catalogue_names_properties_that_exist_and_a_scenario_that_exists(
    target: str, name: str
) -> None:
    known = KNOWN[target][name]
    assert known.expect
    assert set(known.expect) <= {prop.name for prop in ALL}
    file, _, test = known.scenario.partition("::")
    assert f"def {test.partition('[')[0]}(" in (PROJECT_ROOT / "scenarios" / file).read_text(encoding="utf-8")


# --- bugs of those who judge ------------------------------------------------------------------------------------

JUDGES = load_catalogue(CHECKERS)


@pytest.mark.parametrize("name", JUDGES)
def test_every_bug_of_a_checker_can_be_planted_into_the_harness_as_it_is(tmp_path: Path, name: str) -> None:
    assert_can_be_planted(JUDGES[name], tmp_path, "harness")


@pytest.mark.parametrize("name", JUDGES)
def test_every_bug_of_a_checker_names_the_property_that_it_blinds_and_the_tests_that_notice(name: str) -> None:
    [blinded] = JUDGES[name].expect
    assert blinded in {prop.name for prop in ALL}
    assert killers_of(JUDGES[name])
    assert all((PROJECT_ROOT / file).is_file() for file in killers_of(JUDGES[name]))


def test_every_property_and_the_trace_are_blinded_in_several_ways() -> None:
    blinded = Counter(known.expect[0] for known in JUDGES.values() if not in_the_trace(known))
    assert [prop.name for prop in ALL if blinded[prop.name] < 2] == []
    assert sum(map(in_the_trace, JUDGES.values())) >= 6


def in_the_trace(known: Bug) -> bool:
    return all(edit.file.startswith("harness/trace/") for edit in known.edit)
