"""`--sink kafka://host:9092/topic`: a message of a topic for each result, confirmed when all in-sync replicas have it.

The key is device and model, so that the results of one stay in order in one partition; the header `id` is the result's.
Kafka drops no repeats by content: the idempotent producer makes none of its own, but what was under way when a
connection broke for good is sent again, and a consumer drops it by its `id`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING
from urllib.parse import unquote

import msgspec

from edge.errors import ConfigError, Needing, UnavailableError
from edge.plugins.contexts import SinkContext
from edge.plugins.declarations import SinkInfo
from edge.plugins.reach import Reached
from edge.remote.address import Address, parse, password_of
from edge.remote.store import PartlyAwayError, PartlyRefusedError, Record, StoreSink

if TYPE_CHECKING:
    from confluent_kafka import KafkaError, Message, Producer

USAGE = "kafka://host:9092/topic"
CONNECT_S = 5.0
DELIVERED_S = 8.0
"""After which librdkafka gives a message back."""
POLL_S = 0.1
MOST_BYTES = 100_000_000
"""Of one message, for librdkafka: what is too large is the broker's to say."""


class KafkaOptions(msgspec.Struct, frozen=True):
    """Behind the #. `sasl` is a mechanism: PLAIN, SCRAM-SHA-256, SCRAM-SHA-512."""

    sasl: str = ""
    password_file: str = ""
    tls: bool = False
    ca: str = ""


class Kafka:
    """A topic of a Kafka cluster, or of one that speaks its protocol."""

    def __init__(self, address: Address, options: KafkaOptions) -> None:
        """Raises ConfigError."""
        self._address = address
        self._options = options
        self._topic = unquote(address.path.removeprefix("/"))
        if not self._topic or "/" in self._topic:
            raise ConfigError(f"--sink {address}: {self._topic!r} is no topic; say {USAGE}")
        if address.username and not options.sasl:
            raise ConfigError(f"--sink {address}: a user needs #sasl; say sasl=SCRAM-SHA-512 or sasl=PLAIN")
        self._producer: Producer | None = None
        self._said = ""
        self._config()

    def _config(self) -> dict[str, str | int | bool]:
        """For librdkafka, with the password as its file has it now. Raises ConfigError."""
        options, tls = self._options, self._options.tls or bool(self._options.ca)
        login: dict[str, str | int | bool] = {}
        if options.sasl:
            password = password_of("kafka", options.password_file, self._address)
            login = {
                "sasl.mechanism": options.sasl,
                "sasl.username": self._address.username,
                "sasl.password": password,
            }
        return {
            "bootstrap.servers": self._address.hosts,
            "client.id": "edge-run",
            "enable.idempotence": True,
            "acks": "all",
            "linger.ms": 5,
            "message.max.bytes": MOST_BYTES,
            "delivery.timeout.ms": int(DELIVERED_S * 1000),
            "log_level": 0,  # the outbox says what matters
            "security.protocol": f"{'SASL_' if options.sasl else ''}{'SSL' if tls else 'PLAINTEXT'}",
            **({"ssl.ca.location": options.ca} if options.ca else {}),
            **login,
        }

    def connect(self) -> None:
        self.close()
        self._look()

    def _look(self) -> tuple[int, int]:
        """How many brokers there are, and partitions of the topic."""
        from confluent_kafka import KafkaException, Producer

        def remember(error: KafkaError) -> None:
            self._said = error.str()

        self._said = ""
        try:
            self._producer = Producer({**self._config(), "error_cb": remember})
            metadata = self._producer.list_topics(self._topic, timeout=CONNECT_S)
        except KafkaException as exc:
            if self._producer is not None:
                self._producer.poll(0)
            raise UnavailableError(f"{self._address}: {self._said or exc.args[0].str()}") from exc
        topic = metadata.topics[self._topic]
        if topic.error is not None:
            raise UnavailableError(f"{self._address}: topic {self._topic}: {topic.error.str()}; make it over there")
        return len(metadata.brokers), len(topic.partitions)

    def write(self, records: Sequence[Record]) -> None:
        from confluent_kafka import KafkaException

        if self._producer is None:
            raise UnavailableError(f"{self._address}: not connected")
        left = {r.key: r for r in records}
        failures: list[KafkaError] = []
        try:
            for record in records:
                done = _delivery(record.key, left, failures)
                key = record.stream.rpartition("/")[0]
                self._producer.produce(
                    self._topic, record.payload, key, on_delivery=done, headers=[("id", record.id.encode())]
                )
        except (KafkaException, BufferError) as exc:
            raise UnavailableError(f"{self._address}: {exc}") from exc
        by = time.monotonic() + DELIVERED_S + 1
        while len(left) > len(failures) and time.monotonic() < by:
            self._producer.poll(POLL_S)
        if left:
            self._judge(list(left.values()), failures)

    def _judge(self, left: Sequence[Record], failures: Sequence[KafkaError]) -> None:
        """Too large for the broker is about the row, or those that went in one request with it."""
        from confluent_kafka import KafkaError as Errors

        about_the_row = (Errors.MSG_SIZE_TOO_LARGE, Errors.INVALID_RECORD, Errors.INVALID_MSG_SIZE)
        others = [f for f in failures if f.code() not in about_the_row]
        said = f"{self._address}: topic {self._topic}: "
        if others or not failures:
            raise PartlyAwayError(said + (others[0].str() if others else "no confirmation came"), left)
        raise PartlyRefusedError(said + failures[0].str(), left)

    def reach(self) -> Reached:
        brokers, partitions = self._look()
        return Reached(f"{self._address} answers, brokers: {brokers}, topic {self._topic}, partitions: {partitions}")

    def close(self) -> None:
        producer, self._producer = self._producer, None
        if producer is not None:
            producer.purge()  # the outbox has it all
            producer.flush(1.0)


def _delivery(
    key: int, left: dict[int, Record], failures: list[KafkaError]
) -> Callable[[KafkaError | None, Message], None]:
    def delivered(error: KafkaError | None, message: Message) -> None:
        if error is None:
            left.pop(key, None)
        else:
            failures.append(error)

    return delivered


def create(rest: str, context: SinkContext) -> StoreSink:
    """`rest` is the address. Raises ConfigError, also where the library is not installed."""
    address, options = parse("kafka", rest, KafkaOptions, USAGE)
    with Needing("the kafka sink", "confluent-kafka", "kafka"):
        import confluent_kafka  # noqa: F401 - said at the start, not at the first result
    return StoreSink(Kafka(address, options))


FILES = ("password_file", "ca")
SINK = SinkInfo(edge_api=1, create=create, usage=USAGE, reads_files=FILES)
