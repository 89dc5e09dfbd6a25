"""PostgreSQL's protocol as events: what a session says, what it writes, and how it is answered, in any chunks."""

from __future__ import annotations

import struct
import tracemalloc
from collections.abc import Sequence

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from chaos.proxy.wire import decoders, known_events
from chaos.proxy.wire.events import Decoder, Event
from chaos.proxy.wire.sql import classify
from tests.wire import CUTS, chunks, fed, told


def say(kind: str, body: bytes = b"") -> bytes:
    return kind.encode() + struct.pack(">I", len(body) + 4) + body


def query(text: str) -> bytes:
    return say("Q", text.encode() + b"\0")


def parse(text: str, name: str = "") -> bytes:
    return say("P", f"{name}\0{text}\0".encode() + b"\0\0")


def run(name: str = "", values: bytes = b"\0" * 6) -> bytes:
    """Bind, Describe, Execute, as libpq sends them."""
    return say("B", f"\0{name}\0".encode() + values) + say("D", b"P\0") + say("E", b"\0" + b"\0" * 4)


SYNC, FLUSH = say("S"), say("H")
PARAMETERS = b"user\0web\0database\0crm\0\0"
STARTUP = struct.pack(">II", 8 + len(PARAMETERS), 196608) + PARAMETERS
SSL_REQUEST = struct.pack(">II", 8, 80877103)
CANCEL = struct.pack(">IIII", 16, 80877102, 1, 2)


def ready(status: str = "I") -> bytes:
    return say("Z", status.encode())


def done(tag: str, status: str = "I", before: bytes = b"") -> bytes:
    return before + say("C", tag.encode() + b"\0") + ready(status)


def failed(state: str, status: str = "I", severity: str = "ERROR") -> bytes:
    fields = f"S{severity}\0V{severity}\0C{state}\0Mno\0\0".encode()
    return say("E", fields) + (ready(status) if severity == "ERROR" else b"")


ROWS = say("T", b"\0\1" + b"x" * 30) + say("D", b"row" * 100) * 3
SHAKE_HANDS = say("R", b"\0\0\0\x0aSCRAM-SHA-256\0\0"), say("R", b"\0\0\0\x0bserver-first")
WELCOME = say("R", b"\0\0\0\0") + say("S", b"TimeZone\0UTC\0") + say("K", b"\0" * 8) + ready()


class Talk:
    """A session that has begun: what is said and answered is told as it is."""

    def __init__(self) -> None:
        self.up, self.down = decoders("postgres")
        assert self.said(STARTUP) == ["startup"]
        assert self.heard(WELCOME) == ["authenticated"]

    def said(self, *parts: bytes) -> list[str]:
        return told(self.up.feed(b"".join(parts)))

    def heard(self, *parts: bytes) -> list[str]:
        return told(self.down.feed(b"".join(parts)))

    def ask(self, text: str, status: str = "I") -> list[str]:
        """A simple query that goes well: both events."""
        return self.said(query(text)) + self.heard(done(text.split(" ")[0], status))


# --- what SQL does ---------------------------------------------------------------------------------------------------

_SQL = {
    "INSERT INTO crm.leads (id) VALUES ('DELETE FROM x') ON CONFLICT (id) DO UPDATE SET a = 1": "INSERT crm.leads",
    'insert into "crm".outbox values (1)': "INSERT crm.outbox",
    'WITH s AS (INSERT INTO "crm"."outbox" (a) VALUES (%s)) SELECT pg_notify(%s, $$UPDATE x$$)': "INSERT crm.outbox",
    "WITH a AS MATERIALIZED (DELETE FROM ONLY t RETURNING *), b AS (UPDATE u SET x = 1) INSERT INTO v TABLE a": (
        "DELETE t, UPDATE u, INSERT v"
    ),
    "MERGE INTO t USING s ON true WHEN MATCHED THEN UPDATE SET a = 1 WHEN NOT MATCHED THEN INSERT VALUES (1)": (
        "MERGE t"
    ),
    "TRUNCATE TABLE a, ONLY b.c *, d RESTART IDENTITY": "TRUNCATE a, TRUNCATE b.c, TRUNCATE d",
    "COPY crm.leads (id, name) FROM STDIN": "COPY crm.leads",
    "EXPLAIN (ANALYZE) INSERT INTO t VALUES (1)": "INSERT t",
    "/* a /* nested */ INSERT INTO */ -- UPDATE x SET\n UPDATE t SET a = E'\\'; DELETE FROM u'": "UPDATE t",
}
_READS = {
    "SELECT id FROM crm.leads l JOIN crm.users u ON true FOR UPDATE": "SELECT crm.leads",
    "select 1": "SELECT",
    "": "",
    "(SELECT 1 FROM x)": "SELECT x",
    "SELECT EXISTS (SELECT 1 FROM t WHERE a IS DISTINCT FROM b)": "SELECT t",
    "SELECT (SELECT count(*) FROM a), extract(epoch FROM now()) FROM b": "SELECT b",
    "WITH q AS (SELECT * FROM a.b) SELECT * FROM q": "SELECT a.b",
    "SELECT * FROM unnest($1::uuid[])": "SELECT",
    "LISTEN crm_outbox": "LISTEN crm_outbox",
    "COPY t TO STDOUT": "COPY",
    "EXPLAIN INSERT INTO t VALUES (1)": "EXPLAIN",
    "DO $body$ BEGIN INSERT INTO t VALUES (1); COMMIT; END $body$": "DO",
    "CREATE TRIGGER x AFTER INSERT OR UPDATE ON t FOR EACH ROW EXECUTE FUNCTION f()": "CREATE",
    "GRANT INSERT, UPDATE ON t TO web": "GRANT",
    "SHOW synchronous_commit": "SHOW",
    "ALTER TABLE a ADD FOREIGN KEY (b) REFERENCES c ON DELETE CASCADE ON UPDATE SET NULL": "ALTER",
}


@pytest.mark.parametrize("text", _SQL)
def test_what_a_statement_writes_is_told_by_verb_and_table(text: str) -> None:
    (statement,) = classify(text.encode())
    assert (statement.detail, ", ".join(statement.writes)) == (_SQL[text], _SQL[text])


@pytest.mark.parametrize("text", _READS)
def test_a_statement_that_only_reads_writes_nothing(text: str) -> None:
    assert [(statement.detail, statement.writes) for statement in classify(text.encode())] == (
        [(_READS[text], ())] if text else []
    )


@given(text=st.text(alphabet="INSERTO UPDAFM'\"$();,.-/*\\\n1aE", max_size=60))
def test_no_text_of_sql_is_too_strange_to_be_classified(text: str) -> None:
    for statement in classify(text.encode()):
        assert statement.writes == () or statement.detail


def test_statements_of_one_text_are_told_apart_but_not_those_in_a_body() -> None:
    body = "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC INSERT INTO x VALUES (1); SELECT CASE WHEN a THEN 1 END; END"
    kinds = [statement.kind for statement in classify(f"BEGIN; {body}; SELECT ';'; COMMIT;;".encode())]
    assert kinds == ["begin", "other", "other", "commit"]


# --- transactions ----------------------------------------------------------------------------------------------------


def test_a_commit_tells_all_that_its_transaction_writes_once_and_in_order() -> None:
    talk = Talk()
    assert talk.ask("BEGIN", "T") == ["begin", "result"]
    for table in ("leads", "outbox", "leads"):
        write = f"INSERT crm.{table}"
        assert talk.ask(f"INSERT INTO crm.{table} VALUES (1)", "T") == [f"statement {write}", f"result {write}"]
    assert talk.ask("SELECT 1 FROM crm.users FOR UPDATE", "T")[0] == "statement SELECT crm.users"
    wrote = "INSERT crm.leads, INSERT crm.outbox"
    assert talk.ask("COMMIT") == [f"commit {wrote}", f"committed {wrote}"]
    assert talk.ask("BEGIN", "T") + talk.ask("COMMIT") == ["begin", "result", "commit", "committed"]


def test_a_write_outside_of_a_block_is_its_own_commit() -> None:
    talk = Talk()
    assert talk.ask("UPDATE crm.outbox SET sent_at = now()") == [
        "commit UPDATE crm.outbox",
        "committed UPDATE crm.outbox",
    ]
    assert talk.ask("SELECT 1") == ["statement SELECT", "result SELECT"]


def test_what_was_rolled_back_to_a_savepoint_was_not_written() -> None:
    talk = Talk()
    for text in ("BEGIN", "INSERT INTO a VALUES (1)", 'SAVEPOINT "s1"', "INSERT INTO b VALUES (1)", "SAVEPOINT s2"):
        talk.ask(text, "T")
    talk.ask("INSERT INTO c VALUES (1)", "T")
    assert talk.ask("RELEASE s2", "T") == ["statement RELEASE", "result RELEASE"]
    assert talk.ask('ROLLBACK TO SAVEPOINT "s1"', "T") == ["statement ROLLBACK", "result ROLLBACK"]
    talk.ask("INSERT INTO d VALUES (1)", "T")
    assert talk.ask("COMMIT")[0] == "commit INSERT a, INSERT d"


def test_a_rollback_writes_nothing_and_neither_does_the_commit_of_a_failed_transaction() -> None:
    talk = Talk()
    talk.ask("BEGIN", "T")
    talk.ask("INSERT INTO a VALUES (1)", "T")
    assert talk.ask("ROLLBACK") == ["rollback INSERT a", "rolled back INSERT a"]
    assert talk.ask("BEGIN", "T") + talk.ask("COMMIT") == ["begin", "result", "commit", "committed"]
    talk.ask("BEGIN", "T")
    assert talk.said(query("INSERT INTO b VALUES (1)")) == ["statement INSERT b"]
    assert talk.heard(failed("23505", "E")) == ["error 23505"]
    assert talk.said(query("COMMIT")) == ["commit INSERT b"]
    assert talk.heard(done("ROLLBACK")) == ["rolled back INSERT b"]


def test_the_server_tells_whether_a_block_is_open() -> None:
    talk = Talk()
    assert talk.said(query("BEGIN")) == ["begin"]
    talk.heard(failed("57014", "I"))  # it never began
    assert talk.said(query("DELETE FROM a")) == ["commit DELETE a"]


def test_several_statements_in_one_query_are_one_unit() -> None:
    talk = Talk()
    assert talk.said(query("BEGIN; INSERT INTO a VALUES (1); COMMIT")) == ["commit INSERT a"]
    assert talk.heard(say("C", b"BEGIN\0"), say("C", b"INSERT 0 1\0"), done("COMMIT")) == ["committed INSERT a"]
    assert talk.said(query("INSERT INTO a VALUES (1); UPDATE b SET c = 1")) == ["commit INSERT a, UPDATE b"]
    talk.heard(done("UPDATE 1"))
    assert talk.said(query("BEGIN; INSERT INTO a VALUES (1)")) == ["begin INSERT a"]
    talk.heard(done("INSERT 0 1", "T"))
    assert talk.ask("COMMIT AND CHAIN", "T")[0] == "commit INSERT a"
    assert talk.ask("DELETE FROM b", "T")[0] == "statement DELETE b"


# --- the extended protocol -------------------------------------------------------------------------------------------


def test_a_unit_ends_with_its_sync_and_a_prepared_statement_is_known_later() -> None:
    talk = Talk()
    assert talk.said(parse("INSERT INTO crm.leads VALUES ($1)"), run(), SYNC) == ["commit INSERT crm.leads"]
    assert talk.heard(say("1"), say("2"), say("n"), done("INSERT 0 1")) == ["committed INSERT crm.leads"]
    assert talk.said(parse("SELECT 1 FROM crm.deals", "_pg3_0"), SYNC) == ["statement PREPARE"]
    assert talk.heard(say("1"), ready()) == ["result PREPARE"]
    for _ in range(2):
        assert talk.said(run("_pg3_0"), SYNC) == ["statement SELECT crm.deals"]
        assert talk.heard(say("2"), done("SELECT 3", before=ROWS)) == ["result SELECT crm.deals"]
    assert talk.said(query("PREPARE p AS DELETE FROM crm.deals")) == ["statement PREPARE"]
    talk.heard(done("PREPARE"))
    assert talk.ask("EXECUTE p(1)") == ["commit DELETE crm.deals", "committed DELETE crm.deals"]
    assert talk.said(SYNC) + talk.heard(ready()) == ["statement", "result"]


def test_units_that_are_sent_ahead_are_answered_in_their_order() -> None:
    talk = Talk()
    begin, write, commit = (parse(text) + run() + SYNC for text in ("BEGIN", "INSERT INTO a VALUES (1)", "COMMIT"))
    assert talk.said(begin, write, commit, query("SELECT 1")) == [
        "begin", "statement INSERT a", "commit INSERT a", "statement SELECT",
    ]  # fmt: skip
    answers = (done("BEGIN", "T"), done("INSERT 0 1", "T"), done("COMMIT"), done("SELECT 1"))
    assert talk.heard(*answers) == ["result", "result INSERT a", "committed INSERT a", "result SELECT"]


def test_what_somebody_waits_for_before_a_sync_is_not_held_back() -> None:
    talk = Talk()
    asked = parse("SELECT 1") + run() + FLUSH
    assert talk.said(asked) == []
    assert talk.up.boundary == len(STARTUP + asked)
    answer = say("1") + say("2") + ROWS
    assert talk.heard(answer) == []
    assert talk.down.boundary == len(WELCOME + answer)
    assert talk.said(SYNC) == ["statement SELECT"]
    assert talk.heard(done("SELECT 1")) == ["result SELECT"]


@pytest.mark.parametrize("extended", [False, True])
def test_rows_that_are_copied_in_belong_to_no_unit(extended: bool) -> None:
    talk = Talk()
    copy = "COPY crm.leads FROM STDIN"
    asked = parse(copy) + run() + SYNC if extended else query(copy)
    assert talk.said(asked) == ["commit COPY crm.leads"]
    invited = say("G", b"\0\0\0")
    assert talk.heard(invited) == []
    assert talk.down.boundary == len(WELCOME + invited)
    rows = say("d", b"1\tname\n") * 100 + say("c") + (SYNC if extended else b"")
    assert talk.said(rows[:50]) == []
    assert talk.said(rows[50:]) == []
    assert talk.up.boundary == len(STARTUP + asked + rows)
    assert talk.heard(done("COPY 100")) == ["committed COPY crm.leads"]
    assert talk.ask("SELECT 1") == ["statement SELECT", "result SELECT"]


# --- beside the units ------------------------------------------------------------------------------------------------


def test_hands_are_shaken_without_anything_being_held_back() -> None:
    up, down = decoders("postgres")
    assert told(up.feed(SSL_REQUEST)) == []
    assert told(down.feed(b"N")) == []
    assert (up.boundary, down.boundary) == (8, 1)
    assert told(up.feed(STARTUP)) == ["startup"]
    for asked in SHAKE_HANDS:
        before = down.boundary
        assert told(down.feed(asked)) == []
        assert down.boundary == before + len(asked)
        assert told(up.feed(say("p", b"secret"))) == []
    assert told(down.feed(WELCOME)) == ["authenticated"]
    assert (up.opaque, down.opaque) == (None, None)


def test_a_wrong_password_is_an_error() -> None:
    up, down = decoders("postgres")
    up.feed(STARTUP)
    assert told(down.feed(SHAKE_HANDS[0] + failed("28P01", severity="FATAL"))) == ["error 28P01"]


def test_a_server_that_goes_down_says_so_at_once() -> None:
    talk = Talk()
    talk.said(query("SELECT 1"))
    assert talk.heard(failed("57P01", severity="FATAL")) == ["error 57P01"]


def test_notifications_and_notices_come_between_the_answers() -> None:
    talk = Talk()
    told_of = say("A", b"\0\0\0\1crm_outbox\0\0")
    assert talk.heard(told_of, say("N", b"SNOTICE\0\0"), told_of) == ["notification crm_outbox"] * 2
    assert talk.said(query("NOTIFY crm_outbox")) == ["statement NOTIFY"]
    answer = say("C", b"NOTIFY\0") + told_of + ready()
    assert talk.heard(answer) == ["result NOTIFY"]


def test_a_request_to_cancel_is_told_as_such() -> None:
    assert told(decoders("postgres")[0].feed(CANCEL)) == ["cancel"]


def test_what_is_encrypted_or_replicated_is_not_read_in_either_direction() -> None:
    up, down = decoders("postgres")
    up.feed(SSL_REQUEST)
    down.feed(b"S")
    assert told(up.feed(b"\x16\x03\x01")) + told(down.feed(b"\x16\x03\x01")) == []
    assert up.opaque == down.opaque == "TLS"
    talk = Talk()
    talk.said(query("START_REPLICATION SLOT s LOGICAL 0/0"))
    assert talk.heard(say("W", b"\0\0\0")) == []
    assert talk.said(say("d", b"r")) == []
    assert talk.up.opaque == talk.down.opaque == "replication"


def test_what_is_no_message_is_noticed_and_said() -> None:
    said = {
        "does not begin": b"AMQP\0\0\x09\x01",
        "PostgreSQL 3": b"\0\0\0\x08\0\2\0\0",
        "TLS": b"\x16\x03\x01",
        "type b'?'": STARTUP + say("?"),
        "and 3 bytes": STARTUP + b"Q\0\0\0\x03",
    }
    for reason, stream in said.items():
        up = decoders("postgres")[0]
        fed(up, [stream, b"and more"])
        assert reason in str(up.opaque)


# --- chunks ----------------------------------------------------------------------------------------------------------

_SAID = {
    "BEGIN": (query("BEGIN"), done("BEGIN", "T")),
    "INSERT": (parse("INSERT INTO a VALUES ($1)") + run(values=b"x" * 2000) + SYNC, done("INSERT 0 1", "T", say("1"))),
    "SELECT": (query("SELECT * FROM b"), done("SELECT 3", "T", ROWS)),
    "long": (query("SELECT " + "x" * 3000), failed("42703", "E")),
    "COMMIT": (query("COMMIT"), done("COMMIT") + say("A", b"\0\0\0\1c\0\0")),
}


def _both(words: list[str], cuts: Sequence[int]) -> tuple[list[Event], list[Event], tuple[Decoder, Decoder]]:
    up, down = decoders("postgres")
    said, heard = (b"".join(_SAID[word][side] for word in words) for side in (0, 1))
    return fed(up, chunks(STARTUP + said, cuts)), fed(down, chunks(WELCOME + heard, cuts)), (up, down)


@given(words=st.lists(st.sampled_from(sorted(_SAID)), max_size=10), cuts=CUTS)
@example(words=sorted(_SAID), cuts=range(10_000))
def test_whatever_the_chunks_the_same_is_told(words: list[str], cuts: Sequence[int]) -> None:
    whole, cut = _both(words, []), _both(words, cuts)
    assert cut[:2] == whole[:2]
    assert [decoder.opaque for decoder in cut[2]] == [None, None]
    assert len(cut[0]) == len(words) + 1
    assert {event.name for event in cut[0]} <= known_events("postgres", "upstream")
    assert {event.name for event in cut[1]} <= known_events("postgres", "downstream")


@pytest.mark.parametrize("side", [0, 1])
@given(
    words=st.lists(st.sampled_from(sorted(_SAID)), max_size=4), garbage=st.binary(min_size=1, max_size=40), cuts=CUTS
)
def test_garbage_anywhere_never_raises(side: int, words: list[str], garbage: bytes, cuts: Sequence[int]) -> None:
    decoder = decoders("postgres")[side]
    begins = (STARTUP, WELCOME)[side]
    said = b"".join(_SAID[word][side] for word in words)
    fed(decoder, chunks(begins + said + garbage + said, cuts))
    assert "failed" not in (decoder.opaque or "")


def test_a_query_and_a_row_of_50_mb_are_counted_down_not_kept() -> None:
    size, piece = 50_000_000, b"x" * 100_000
    talk = Talk()
    for decoder, kind, begins in ((talk.up, b"Q", b"INSERT INTO big VALUES ('"), (talk.down, b"D", b"")):
        decoder.feed(kind + struct.pack(">I", size + len(begins) + 4) + begins)
        tracemalloc.start()
        events = [event for _ in range(size // len(piece)) for event in decoder.feed(piece)]
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
        tracemalloc.stop()
        assert told(events) == (["commit INSERT big"] if kind == b"Q" else [])
    assert talk.heard(done("INSERT 0 1")) == ["committed INSERT big"]
