"""Do a plan, step by step. What is done is read from the cluster itself, so a run that was ended goes on from there."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

from streamapp.clock import monotonic_s
from streamapp.cluster.plan import Have, Node, Want, plan, refusals
from streamapp.cluster.steps import Kind, Step
from streamapp.errors import Refused, Unavailable

POLL_S = 0.5
CAUGHT_UP = 10  # records of the metadata log; the controller writes two a second


class Cluster(Protocol):
    """What `grow` needs of a cluster."""

    def seen(self, step: Step | None = None) -> Have: ...
    def do(self, step: Step, have: Have, throttle: int) -> None: ...


@dataclass(frozen=True, slots=True)
class Progress:
    """`step` begins, the one of this number, of as many as were planned; or it goes on, and `left` says how far, or
    what holds it up."""

    step: Step
    number: int
    of: int
    left: str = ""


def planned(have: Have, want: Want) -> tuple[Step, ...]:
    """The plan. Raises `Refused` with every reason."""
    if reasons := refusals(have, want):
        raise Refused("\n".join(reasons))
    return plan(have, want)


def grow(
    cluster: Cluster,
    want: Want,
    tell: Callable[[Progress], None],
    *,
    throttle: int,
    wait_s: float,
    poll_s: float = POLL_S,
) -> int:
    """Do what is left, and return how many steps that was. `throttle`: bytes a second and node.

    Raises `Refused` as `planned` does, and `Unavailable` when the effect of a step is not seen in `wait_s`: a step of
    the operator that was not done, or replicas that take longer. Calling again goes on from there.
    """
    number, have = 0, cluster.seen()
    while steps := planned(have, want):
        step, number = steps[0], number + 1
        now = Progress(step, number, number + len(steps) - 1)
        patience = _Patience(step, wait_s, poll_s)
        tell(now)
        if step.kind is Kind.ADD_VOTER:
            have = _caught_up(cluster, step, patience)
        _do(cluster, want, have, now, throttle, tell, patience)
        _await_effect(cluster, want, now, tell, patience)
        have = _Patience(step, wait_s, poll_s).asked(cluster.seen)
    return number


def _do(
    cluster: Cluster,
    want: Want,
    have: Have,
    now: Progress,
    throttle: int,
    tell: Callable[[Progress], None],
    patience: _Patience,
) -> None:
    """A request that failed may have done its work: that of a run that was ended, whose tool went on, or one whose
    answer came too late. A step that is left is asked for again while the cluster does not answer."""
    while True:
        try:
            return cluster.do(now.step, have, throttle)
        except (Refused, Unavailable) as failed:
            have = patience.asked(lambda: cluster.seen(now.step))
            left = planned(have, want)
            if not left or left[0].subject != now.step.subject:
                return None
            if isinstance(failed, Refused):
                raise
            tell(replace(now, left=f"asked again, because the cluster did not answer: {failed}"))
            patience.pause(str(failed))


class _Patience:
    """Waits again and again for one step, for no longer than `wait_s` in all."""

    def __init__(self, step: Step, wait_s: float, poll_s: float) -> None:
        self._step, self._wait_s, self._poll_s = step, wait_s, poll_s
        self._end_s = monotonic_s() + wait_s

    def pause(self, why: str = "") -> None:
        if monotonic_s() > self._end_s:
            said = f" ({why})" if why else ""
            raise Unavailable(
                f"not done within {self._wait_s:g} s{said}: {self._step}. Call again: it goes on from here"
            )
        threading.Event().wait(self._poll_s)

    def asked(self, ask: Callable[[], Have]) -> Have:
        """The cluster's answer. It gives none while a node restarts."""
        while True:
            try:
                return ask()
            except Unavailable as away:
                self.pause(str(away))


def _caught_up(cluster: Cluster, step: Step, patience: _Patience) -> Have:
    while not _follows((have := patience.asked(lambda: cluster.seen(step))).nodes.get(step.node)):
        patience.pause()
    return have


def _follows(node: Node | None) -> bool:
    """Whether a node may be added: it is there and has caught up. It may go down after the plan was made."""
    return node is not None and node.settings is not None and bool(node.directory) and node.lag <= CAUGHT_UP


def _goes_on(step: Step, left: tuple[Step, ...]) -> bool:
    """Whether a step is not done: the plan begins with it still. One of the operator may stand anywhere in it, behind a
    replica that has fallen behind meanwhile, or stand there as the return of its node: the node is being restarted. It
    gives way to the return of another node."""
    first = left[0]
    if not step.kind.by_operator or (first.kind is Kind.RETURN and first.node != step.node):
        return first.subject == step.subject
    return any(one.subject in {step.subject, (Kind.RETURN, step.node)} for one in left)


def _await_effect(
    cluster: Cluster, want: Want, now: Progress, tell: Callable[[Progress], None], patience: _Patience
) -> None:
    told = str(now.step)
    while True:
        left = planned(patience.asked(lambda: cluster.seen(now.step)), want)
        if not left or not _goes_on(now.step, left):
            return
        if left[0].kind is Kind.CATCH_UP and str(left[0]) != told:
            told = str(left[0])
            tell(replace(now, left=told))
        patience.pause()
