"""Three runs whose inputs come over one connection, under the same faults, and one of them paused now and then.

`a` and `m` have a topic each, and `all` hears both. So an acknowledged input is owed a result of the run whose topic it
came on, and one of `all`. Both are looked for input by input.
"""

from __future__ import annotations

import time
from pathlib import Path

from integration.faults.campaign import SETTLE_S, Campaign, Fault
from integration.faults.ends import EQUAL, Subscriber
from integration.faults.ground import Ground
from integration.faults.waiting import wait_until

DEVICE = "edge/d"
RUNS = {"a": "", "m": "commands = true\n", "all": f'source = "mqtt:{DEVICE}/+/input"\n'}


class TogetherGround(Ground):
    """`subscriber` hears the runs with topics of their own, `wide` the one that hears all."""

    bases = (f"{DEVICE}/a", f"{DEVICE}/m")

    def topic(self, number: int) -> str:
        return f"{DEVICE}/{'am'[number // EQUAL // 2 % 2]}/input"

    def open(self) -> None:
        super().open()
        self.wide = Subscriber(self.ends[1].port, f"{DEVICE}/all", login=self.broker.login, name="wide")
        self.wide.start()

    def pause(self) -> None:
        self.wide.say(f"{DEVICE}/m/set", '{"command": "pause"}')

    def resume(self) -> None:
        self.wide.say(f"{DEVICE}/m/set", '{"command": "resume"}')

    def close(self) -> None:
        super().close()
        self.wide.close()

    def _arguments(self, model: Path) -> list[str]:
        said = super()._arguments(model)
        for flag in ("--model", "--name"):
            at = said.index(flag)
            del said[at : at + 2]
        tables = "".join(f'[[run]]\nname = "{name}"\nmodel = "{model}"\n{rest}' for name, rest in RUNS.items())
        file = self.place / "runs.toml"
        file.write_text(tables)
        return ["--config", str(file), *said]


class TogetherCampaign(Campaign):
    """Of three runs."""

    title = "three runs over one MQTT connection, `--durability outage`"
    _ground: TogetherGround

    def _made(self, place: Path, broker: str) -> TogetherGround:
        return TogetherGround(place, "outage", broker=broker)

    def _kinds(self) -> list[Fault]:
        ground = self._ground
        return [*super()._kinds(), Fault("a run paused", "run", ground.pause, ground.resume, (0.5, 4.0))]

    def _settle(self) -> None:
        owed, said = self._ground.owed(), 0.0

        def all_came() -> bool:
            nonlocal said
            if time.monotonic() - said > 1.0:  # a command is not kept for a run that is away
                said = time.monotonic()
                self._ground.resume()
            return not self._ground.wide.lacking(owed)

        wait_until("results of the run that hears all", all_came, SETTLE_S)
        super()._settle()

    def _count(self) -> None:
        super()._count()
        ground, account = self._ground, self.account
        account.lost += ground.wide.lacking(ground.owed())
        account.wrong += ground.wide.wrong
        account.errors += ground.wide.errors
