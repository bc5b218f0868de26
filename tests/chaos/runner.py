"""A chaos run: phase after phase, on either path, and what was wrong in it."""

from __future__ import annotations

import json
import random
import signal
import tempfile
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from tests.chaos.client import LIMIT, Findings, Orders
from tests.chaos.fleet import open_fleet
from tests.chaos.injector import Injector
from tests.chaos.oracle import Circumstance, check_executions, unplanned
from tests.chaos.plan import Flavour
from tests.chaos.quiet import Quiet

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tests.chaos.fleet import Fleet

CLIENTS = 2
VISITORS = 6
#: Of all requests of a phase, how many may have met the harm that was done in it; at least `FEW`.
SHARE = 0.1
FEW = 30


@dataclass(frozen=True)
class Phase:
    """What is done for some time."""

    name: str
    flavour: Flavour
    circumstances: tuple[Circumstance, ...] = ()

    @property
    def failing(self) -> bool:
        """Whether servers fail in it, or something stands still that makes them seem to."""
        gentle = {Circumstance.CLIENT_STOPPED, Circumstance.RELOAD, Circumstance.DRAIN}
        return self.flavour is not Flavour.CALM or not gentle.issuperset(self.circumstances)


_C = Circumstance

#: Each kind of harm by itself, so that each has its own rules; then all of it.
PHASES = (
    Phase("calm", Flavour.CALM),
    Phase("faulty servers", Flavour.FAULTY),
    Phase("loose servers", Flavour.LOOSE),
    Phase("stopped servers", Flavour.CALM, (_C.SERVER_STOPPED,)),
    Phase("stopped workers", Flavour.CALM, (_C.WORKER_STOPPED,)),
    Phase("stopped supervisor", Flavour.CALM, (_C.SUPERVISOR_STOPPED,)),
    Phase("stopped clients", Flavour.CALM, (_C.CLIENT_STOPPED,)),
    Phase("reloads", Flavour.CALM, (_C.RELOAD,)),
    Phase("names", Flavour.CALM, (_C.NAMES_FAIL,)),
    Phase("killed servers", Flavour.CALM, (_C.SERVER_KILLED,)),
    Phase("killed workers", Flavour.CALM, (_C.WORKER_KILLED,)),
    Phase("all", Flavour.FAULTY, tuple(kind for kind in _C if kind is not _C.DRAIN)),
    Phase("all, loose", Flavour.LOOSE, tuple(kind for kind in _C if kind is not _C.DRAIN)),
    Phase("drain", Flavour.CALM, (_C.DRAIN,)),
)

#: The same in fewer phases, for every test run.
SHORT = (
    Phase("calm", Flavour.CALM),
    Phase("wrong servers", Flavour.FAULTY),
    Phase("gentle harm", Flavour.LOOSE, (_C.CLIENT_STOPPED, _C.RELOAD, _C.NAMES_FAIL)),
    Phase("all", Flavour.FAULTY, tuple(kind for kind in _C if kind is not _C.DRAIN)),
    Phase("drain", Flavour.CALM, (_C.DRAIN,)),
)


@dataclass
class Report:
    """What came of a run.

    Attributes:
        outcomes: how often each way of ending was met.
        harm: how often each kind of it was done.
        wrong: each violation, in words.
    """

    outcomes: Counter[str] = field(default_factory=Counter)
    harm: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)


async def run_lap(
    seed: str,
    fast_path: bool,
    phases: Sequence[Phase],
    seconds: float,
    report: Report,
    say: Callable[[str], None] = print,
) -> None:
    """Run phases over one balancer, from its start to its end.

    Args:
        seed: of the lap; all its keys begin with it.
        fast_path: whether the profile has it.
        phases: in their order; a drain can only be the last one.
        seconds: of each phase.
        report: is added to.
        say: told a line for each phase.
    """
    with tempfile.TemporaryDirectory() as directory:
        async with open_fleet(Path(directory), fast_path) as fleet:
            quiet = Quiet(fleet)
            report.wrong += await quiet.wait(failing=False)
            path = "fast" if fast_path else "slow"
            for number, phase in enumerate(phases):
                lap = _Lap(fleet, f"{seed}-{path}-{number}", phase, seconds)
                await lap.run()
                drained = Circumstance.DRAIN in phase.circumstances
                left = await lap.end() if drained else await quiet.wait(failing=phase.failing)
                lap.conclude(left, report, say)


class _Lap:
    """A phase under way."""

    def __init__(self, fleet: Fleet, seed: str, phase: Phase, seconds: float) -> None:
        self._fleet = fleet
        self._seed = seed
        self._phase = phase
        self._seconds = seconds
        self._injector = Injector(fleet, random.Random(seed), phase.circumstances)
        self._results: list[str] = []
        self._logged = len(fleet.program.child.stderr)

    async def run(self) -> None:
        """Let clients visit, and do harm meanwhile, until the last one has gone."""
        orders = [
            Orders(
                self._fleet.port, self._seed, self._phase.flavour, self._seconds, VISITORS, first,
                CLIENTS, circumstances=self._phase.circumstances,
            )
            for first in range(CLIENTS)
        ]  # fmt: skip
        with trio.fail_after(self._seconds + 3 * LIMIT):
            async with trio.open_nursery() as harm:
                harm.start_soon(self._harm)
                async with trio.open_nursery() as clients:
                    for each in orders:
                        text = json.dumps(asdict(each))
                        clients.start_soon(self._fleet.run_client, text, self._results)
                harm.cancel_scope.cancel()

    async def _harm(self) -> None:
        if Circumstance.DRAIN in self._phase.circumstances:
            await trio.sleep(1 + self._seconds / 2)
            self._fleet.program.child.signal(signal.SIGTERM)
        else:
            with trio.move_on_after(self._seconds + 1):
                await self._injector.run()

    async def end(self) -> list[str]:
        """The balancer ends by itself, having finished everything."""
        code = await self._fleet.program.child.wait(within=20)
        return [f"exit code {code}"] if code else []

    def conclude(self, left: list[str], report: Report, say: Callable[[str], None]) -> None:
        """Judge what came of it."""
        circumstances = frozenset(self._phase.circumstances)
        findings = [Findings(**json.loads(line)) for line in self._results]
        outcomes = {key: how for each in findings for key, how in each.outcomes.items()}
        wrong = [text for each in findings for text in each.wrong]
        wrong += check_executions(self._fleet.new_lines(), outcomes, circumstances)
        wrong += [f"left over: {text}" for text in left]
        met = unplanned(outcomes)
        if met.total() > max(FEW, SHARE * len(outcomes)):
            wrong.append(f"more was met than was done: {dict(met)} of {len(outcomes)}")
        counts, harm = Counter(map(str, outcomes.values())), Counter(self._kinds())
        say(
            f"{self._seed} {self._phase.name}: {len(outcomes)} requests, {dict(counts)},"
            f" harm: {dict(harm)}, {len(wrong)} wrong"
        )
        report.outcomes += counts
        report.harm += harm
        done = "\n".join(f"    {at:6.2f} s {text}" for at, text in self._injector.done)
        said = "\n".join(f"    {line}" for line in self._fleet.program.child.stderr[self._logged :])
        where = f"{self._seed} ({self._phase.name})"
        report.wrong += [f"{where}: {text}\n  harm done:\n{done}" for text in wrong]
        if wrong:
            report.wrong[-1] += f"\n  log:\n{said}"

    def _kinds(self) -> list[str]:
        words = ("reload", "names", "killed", "stopped")
        return [next(word for word in words if word in text) for _, text in self._injector.done]
