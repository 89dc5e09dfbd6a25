"""False alarms, counted: in the terminal and as Markdown."""

from __future__ import annotations

from collections.abc import Iterator

from harness.evidence.clean import Alarm, CleanRecord, CleanRun


def run_line(run: CleanRun, of: int) -> str:
    """One run in one line."""
    found = f"{len(run.alarms)} ALARMS" if run.alarms else "no alarm"
    chaos = f" and {run.schedules} schedules" if run.schedules else ""
    return f"run {run.number} of {of}: {found} in {run.scenarios} scenarios{chaos}, seed {run.seed}, {run.took_s:.0f} s"


def alarm_line(alarm: Alarm) -> str:
    return f"✗ {alarm.part}: {alarm.scenario}: {alarm.says}; evidence: {alarm.run}"


def bound(record: CleanRecord) -> str:
    """What so many runs prove."""
    count = len(record.runs)
    if not record.alarms:
        return f"0 of {count} runs raised an alarm: fewer than {record.below:.1%} do (95 %, 3 of N)"
    return f"{record.noisy} of {count} runs raised an alarm"


def summary(record: CleanRecord) -> Iterator[str]:
    """The whole record."""
    for alarm in record.alarms:
        yield alarm_line(alarm)
    scenarios, schedules = (sum(getattr(run, name) for run in record.runs) for name in ("scenarios", "schedules"))
    took_s = sum(run.took_s for run in record.runs)
    yield f"{bound(record)}; {scenarios} scenarios and {schedules} random schedules were judged, in {took_s:.0f} s"


def markdown(record: CleanRecord, *, record_file: str) -> str:
    """The record for a file. ``record_file``: the whole of it, with the seed of every run, which lies beside."""
    where = f"Seed {record.seed}, begun {record.began_at[:10]}, on {record.machine}; {record.workers} stacks; "
    lines = ["# False alarms", "", *(f"{line}." for line in summary(record)), ""]
    lines += [f"{where}code `{record.code}`. A run is a whole gate and {record.schedules} schedules of random chaos."]
    lines += ["", f"[{record_file}]({record_file}) holds each run with its seed."]
    return "\n".join(lines) + "\n"
