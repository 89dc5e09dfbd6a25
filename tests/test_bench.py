"""The bench's arithmetic: a ratio, a rate of answers, and a target that was missed."""

from __future__ import annotations

import asyncio

import pytest

from scenarios.bench.chain import Chain
from scenarios.bench.load import Order, drive
from scenarios.bench.patches import Patches
from scenarios.bench.relay import Relaying
from scenarios.bench.run import Bench, figures_of


def test_a_ratio_is_one_of_medians_so_that_a_single_disturbed_round_does_not_count() -> None:
    patches = Patches(fsync=True, clients=8, patch_per_s=[600.0, 1.0, 700.0], pgbench_per_s=[1000.0, 900.0, 9000.0])
    assert patches.ratio == 0.6


def _bench(patch_per_s: float = 700.0, relayed_per_s: float = 6_000.0, took_ms: float = 20.0) -> Bench:
    patches = [
        Patches(fsync=fsync, clients=8, patch_per_s=[patch_per_s if fsync else 1.0], pgbench_per_s=[1000.0])
        for fsync in (True, False)
    ]
    relay, chain = Relaying(relayed_per_s=[relayed_per_s], bare_per_s=[10_000.0]), Chain(took_ms=[took_ms])
    return Bench(
        began_at="", machine="", load_before=0, patches=patches, relay=relay, chain=chain,
        figures=figures_of(patches, relay, chain),
    )  # fmt: skip


def test_all_targets_are_met_whatever_it_does_without_fsync() -> None:
    assert _bench().met


@pytest.mark.parametrize("bad", [{"patch_per_s": 599.0}, {"relayed_per_s": 4_999.0}, {"took_ms": 26.0}])
def test_one_missed_target_is_a_missed_bench(bad: dict[str, float]) -> None:
    assert not _bench(**bad).met


def test_the_load_generator_counts_what_was_answered_and_how() -> None:
    async def scenario() -> None:
        asked: list[bytes] = []

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while head := (await reader.readuntil(b"\r\n\r\n")):
                length = int(head.partition(b"Content-Length: ")[2].partition(b"\r\n")[0])
                asked.append(head.partition(b" HTTP")[0] + await reader.readexactly(length))
                writer.write(b"HTTP/1.1 409 Conflict\r\ncontent-length: 2\r\n\r\n")
                await writer.drain()
                writer.write(b"{}")

        def ended(_: asyncio.AbstractEventLoop, context: dict[str, object]) -> None:
            assert isinstance(context["exception"], asyncio.IncompleteReadError | ConnectionError)

        asyncio.get_running_loop().set_exception_handler(ended)  # the clients hang up in the middle, on purpose
        async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            order = Order("127.0.0.1", port, "token", clients=2, leads=4, first_lead=7, warm_up_s=0.05, measured_s=0.2)
            outcome = await drive(order)
        assert set(outcome.statuses) == {409}
        assert outcome.answered_per_s == pytest.approx(outcome.statuses[409] / 0.2)
        assert len(set(asked)) == 4 * 2, "each lead in turn to each of two stages"

    asyncio.run(scenario())
