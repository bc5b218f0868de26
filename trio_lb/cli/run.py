"""A load balancer as a program: its supervisor, reports, signals, exit codes."""

from __future__ import annotations

import logging
import os
import signal
import sys
from contextlib import ExitStack
from enum import IntEnum
from functools import partial
from typing import TYPE_CHECKING

import trio

from trio_lb.cli.common import UsageError
from trio_lb.errors import TrioLBError
from trio_lb.net.unix_paths import OURS, Owner
from trio_lb.observe.captured import captured
from trio_lb.observe.save import save_reports
from trio_lb.observe.terminal import can_redraw, show_reports
from trio_lb.observe.units import several
from trio_lb.supervise.activation import address_of, passed_sockets
from trio_lb.supervise.limits import descriptor_warning, raise_descriptor_limit
from trio_lb.supervise.notify import Notifier
from trio_lb.supervise.pidfile import PidFileError, hold_pid_file
from trio_lb.supervise.privileges import PrivilegeError, User, drop_privileges, find_user
from trio_lb.supervise.runtime_dir import default_pid_file
from trio_lb.supervise.sockets import ListeningSockets
from trio_lb.supervise.supervisor import Supervisor

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from trio_lb.config import Profile
    from trio_lb.observe.captured import Captured

log = logging.getLogger("trio_lb")

#: Seconds that looking up the user may take; its database may be in the network.
_LOOK_UP = 10.0

#: How often a live report is redrawn on a terminal, seconds.
_LIVE = 1.0


class ExitCode(IntEnum):
    """How the program ends; 2 (usage, profile) is given before it gets here."""

    CLEAN = 0
    FAILED = 1


def run(
    profile: Profile,
    load: Callable[[], Profile],
    *,
    file: str | None = None,
    report: int = 0,
    save: str | None = None,
    log_levels: list[tuple[str | None, str]] | None = None,
) -> ExitCode:
    """Balance until TERM or INT; the whole program.

    Args:
        profile: what to do.
        load: reads the profile anew, for a reload (HUP).
        file: where the profile is; `reload` and `stop` find us by it.
        report: 1: show reports on standard output; 2: with each worker.
        save: file that reports are appended to.
        log_levels: what the command line says about logging, for the workers.

    Returns:
        CLEAN if everything in flight was finished; FAILED if an address could not be bound, no
        worker could be started, or requests were cut because the drain time was over or a second
        signal came.

    Raises:
        UsageError: the profile's user is not to be had.
        TrioLBError: it can't be started.
    """
    try:
        return trio.run(serve, profile, load, report, save, log_levels or [], file)
    except PrivilegeError as error:
        raise UsageError(str(error)) from None


async def serve(
    profile: Profile,
    load: Callable[[], Profile],
    report: int,
    save: str | None,
    log_levels: list[tuple[str | None, str]],
    file: str | None = None,
    *,
    attended: bool = False,
    above: str = "",
) -> ExitCode:
    """Balance until a signal ends it; the asynchronous part of `run`.

    Args:
        profile, load, report, save, log_levels, file: see `run`.
        attended: it ends with its terminal.
        above: what is on the terminal already; a live report leaves it there.
    """
    user = None if profile.user is None else await _look_up(profile.user)
    if warning := descriptor_warning(profile, raise_descriptor_limit()):
        log.warning("%s", warning)
    passed = [(sock, address_of(sock)) for sock in passed_sockets()]
    sockets = ListeningSockets(passed, OURS if user is None else Owner(user.uid, user.gid))
    supervisor = Supervisor(profile, load, sockets, Notifier(), log_levels)
    failure: TrioLBError | None = None
    with ExitStack() as stack:
        errors = stack.enter_context(captured()) if report and _is_live(profile) else None
        stack.callback(sockets.close)  # also where it does not come to `supervisor.run`
        signals = stack.enter_context(
            trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1)
        )
        if (pid_file := _held_pid_file(profile, file, stack)) is not None:
            owner = None if user is None else user.uid
            stack.enter_context(supervisor.reloads.shown_beside(pid_file, owner))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_obey, signals, supervisor, nursery.cancel_scope, attended)
            snapshot = partial(supervisor.statistics, workers=report > 1)
            show = partial(
                show_reports, snapshot, _round(profile), live=_is_live(profile), errors=errors
            )
            shown = partial(show, above=above) if report else None
            nursery.start_soon(_tell, supervisor, shown, save, errors, attended)
            try:
                await supervisor.bind()
                if user is not None:
                    drop_privileges(user)
                elif os.geteuid() == 0 and file is not None:
                    log.warning(
                        "running as root, and so do the workers, which read what strangers send: "
                        "set `user: NAME` in the profile to drop privileges after the start"
                    )
                await supervisor.run()
            except TrioLBError as exc:
                failure = exc  # raised below, in no group
            nursery.cancel_scope.cancel()
    if failure is not None:
        raise failure
    if supervisor.ended and supervisor.clean:
        log.info("drained")
        return ExitCode.CLEAN
    return ExitCode.FAILED


async def _look_up(name: str) -> User:
    with trio.move_on_after(_LOOK_UP):
        return await trio.to_thread.run_sync(find_user, name, abandon_on_cancel=True)
    raise PrivilegeError(f"user: looking up {name} timed out after {_LOOK_UP:g} s")


def _held_pid_file(profile: Profile, file: str | None, stack: ExitStack) -> str | None:
    """The pid file, held until the end: the profile's, or one in the runtime directory.

    The latter is a convenience: nothing fails without it.

    Raises:
        PidFileError: the profile's can't be had.
    """
    if profile.pid_file is not None:
        stack.enter_context(hold_pid_file(profile.pid_file, shown=profile.shown("pid_file")))
        return profile.pid_file
    path = None if file is None else default_pid_file(file)
    if path is None:
        return None
    try:
        stack.enter_context(hold_pid_file(path, may_stay=True))
    except PidFileError as error:
        log.warning("%s: `trio-lb reload` and `stop` will not find this process", error)
        return None
    return path


async def _obey(
    signals: AsyncIterator[int],
    supervisor: Supervisor,
    everything: trio.CancelScope,
    attended: bool,
) -> None:
    """TERM and INT drain, a second one stops at once, HUP reloads, USR1 is ignored.

    Where somebody has to attend, HUP is the end of the terminal, and drains.
    """
    draining = False
    async for number in signals:
        name = signal.Signals(number).name
        if number == signal.SIGHUP and not attended:
            log.info("%s: reloading", name)
            supervisor.reload()
        elif number == signal.SIGUSR1:  # what logrotate is often set up to send
            log.info("%s ignored: log files that were moved are reopened without it", name)
        elif draining:
            log.warning("%s again: stopping at once", name)
            everything.cancel()
        else:
            log.info("%s: draining, for up to %g s", name, supervisor.profile.timeouts.drain)
            draining = True
            supervisor.drain()


async def _tell(
    supervisor: Supervisor,
    show: Callable[[], Awaitable[None]] | None,
    save: str | None,
    errors: Captured | None,
    attended: bool,
) -> None:
    """Say that it is up, then report as wished; what is captured goes on where no table is."""
    async with trio.open_nursery() as nursery:
        passing = trio.CancelScope()
        if errors is not None:
            nursery.start_soon(_pass_on, errors, passing)
        await supervisor.up.wait()
        statistics = supervisor.statistics()
        log.info(
            "listening on %s: %s over %s, %d alive; %s",
            ", ".join(supervisor.addresses),
            supervisor.profile.algorithm,
            several(len(statistics.servers), "server"),
            statistics.alive_servers,
            several(supervisor.workers, "worker"),
        )
        if save is not None:
            interval = supervisor.profile.report_interval
            nursery.start_soon(save_reports, supervisor.statistics, interval, save)
        if show is not None:
            passing.cancel()
            await show()
            if attended:  # its terminal is gone
                supervisor.drain()
            if errors is not None:
                await errors.pass_on()


async def _pass_on(errors: Captured, scope: trio.CancelScope) -> None:
    with scope:
        await errors.pass_on()


def _is_live(profile: Profile) -> bool:
    """Whether a report is a table that is redrawn in place: not beside an access log."""
    stream = sys.stdout
    if profile.access_log == "-" or stream is None or stream.closed:
        return False
    return can_redraw(stream)


def _round(profile: Profile) -> float:
    """Seconds between two rounds on standard output: people watch a terminal, not a pipe."""
    watched = sys.stdout is not None and sys.stdout.isatty()
    return min(_LIVE, profile.report_interval) if watched else profile.report_interval
