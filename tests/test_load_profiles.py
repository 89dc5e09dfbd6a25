"""Profiles and the schedule that is drawn of them, before anything runs."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from msgspec import structs

from harness.load.gates import load_gates
from scenarios.load.order import PIPELINE, STACK, TOKEN, Order, OrderError, order_for, order_from
from scenarios.load.profiles import PROFILES, ProfileError, find_profile, load_profiles
from scenarios.load.schedule import BURST, arrivals_of, requests_in

ALL = ("smoke", "average", "stress", "spike", "soak", "breakpoint", "backlog", "drain", "race_storm")


def order_of(profile: str, *, seed: int = 7, rate: float | None = None, for_s: float | None = None) -> Order:
    chosen = find_profile(profile, rate=rate, for_s=for_s)
    return order_for(chosen, crm="", pipeline="", token="", seed=seed, out=None)


def written(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "mine.toml"
    file.write_text(text)
    return file


@pytest.mark.parametrize("name", ALL)
def test_each_profile_is_there_and_has_gates(name: str) -> None:
    known = load_profiles()
    assert set(known) == set(ALL)
    assert load_gates(PROFILES.with_name("gates.toml"), name, known)


def test_rate_and_time_stretch_the_shape() -> None:
    spike, other = find_profile("spike"), find_profile("spike", rate=8, for_s=6)
    assert other.top_rate == pytest.approx(8)
    assert other.lasts_s == pytest.approx(6)
    factors = {round(one.to_rate / two.to_rate, 6) for one, two in zip(spike.steps, other.steps, strict=True)}
    assert factors == {10}
    backlog = find_profile("backlog", for_s=4.5)
    assert backlog.outage is not None
    assert backlog.outage.for_s == pytest.approx(1)


def test_an_unknown_profile_is_told_the_nearest() -> None:
    with pytest.raises(ProfileError, match="did you mean smoke"):
        find_profile("smoek")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('[mine]\nsays = ""\narrivals = "poisson"\nwarm_up_s = 0\nsteps = []', "nobody ever arrives"),
        ('[mine]\nsays = ""\narrivals = "often"\nwarm_up_s = 0\nsteps = []', "arrivals"),
        ('[mine]\nsays = ""\narrivals = "poisson"\nwarm_up_s = 9\nsteps = [{ seconds = 5, to_rate = 1 }]', "less than"),
        ('[mine]\nsays = ""\narrivals = "poisson"\nwarm_up_s = 0\nsteps = [{ seconds = 0, to_rate = 1 }]', "seconds"),
        ('[mine]\nsay = ""', "say"),
        ("[mine", "mine.toml"),
    ],
)
def test_a_profile_that_cannot_be_meant_is_refused_with_its_place(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(ProfileError, match=says) as refused:
        load_profiles(written(tmp_path, text))
    assert "mine.toml" in str(refused.value)


def test_more_than_fits_is_refused() -> None:
    with pytest.raises(ProfileError, match="lower --rate"):
        find_profile("soak", rate=10_000, for_s=86_400)


def test_the_shares_of_all_processes_are_the_whole_schedule() -> None:
    order = order_of("average", for_s=20)
    whole = list(arrivals_of(order))
    for parts in (1, 2, 5):
        shares = [list(arrivals_of(structs.replace(order, part=part, parts=parts))) for part in range(parts)]
        assert sorted((one for share in shares for one in share), key=lambda one: one.number) == whole
        assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_the_seed_alone_decides() -> None:
    assert list(arrivals_of(order_of("smoke"))) == list(arrivals_of(order_of("smoke")))
    assert list(arrivals_of(order_of("smoke"))) != list(arrivals_of(order_of("smoke", seed=8)))


def test_kinds_come_as_often_as_their_weights_say() -> None:
    order = order_of("soak", rate=100, for_s=100)
    counts = Counter(arrival.kind for arrival in arrivals_of(order))
    for kind, weight in order.mix.items():
        assert counts[kind] / counts.total() == pytest.approx(weight / sum(order.mix.values()), abs=0.02)


def test_a_race_is_one_arrival_of_many_requests() -> None:
    order = order_of("race_storm")
    arrivals = list(arrivals_of(order))
    races = sum(arrival.kind == "race" for arrival in arrivals)
    assert races
    assert requests_in(structs.replace(order, part=1, parts=3)) == len(arrivals) + races * (BURST - 1)


def test_plain_locust_is_told_what_is_missing() -> None:
    with pytest.raises(OrderError) as missing:
        order_from({}, None)
    for name in ("--host", PIPELINE, TOKEN, STACK):
        assert name in str(missing.value)
    order = order_from({PIPELINE: "http://p", TOKEN: "t"}, "http://c")
    assert (order.crm, order.pipeline, order.token, order.profile) == ("http://c", "http://p", "t", "smoke")


def test_plain_locust_reads_a_stack(tmp_path: Path) -> None:
    file = tmp_path / "stack.json"
    file.write_text('{"edges":{"client→crm":"h:1","client→pipeline":"h:2"},"tokens":{"alice":"secret"},"more":1}')
    order = order_from({STACK: str(file)}, None)
    assert (order.crm, order.pipeline, order.token) == ("http://h:1", "http://h:2", "secret")
    with pytest.raises(OrderError, match=r"nowhere\.json"):
        order_from({STACK: "nowhere.json"}, None)
