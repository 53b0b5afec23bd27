"""A search that several workers share.

A trial is one slope over its seeds. Trials 0 to ``total - 1`` of the study are the search, and the storage is all that
the workers share:

- *waiting*: free for any worker, which takes it by setting it to running; the storage lets only one worker do that.
- *running*: its worker leaves a sign of life every few seconds. When a worker has been silent for too long, its trial
  is set back to waiting and keeps its scores, so that only the seed that a killed worker was running is run again.
- *complete*, *pruned* or *failed*: finished for good.
"""

import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from math import isfinite
from typing import TYPE_CHECKING, Any

import numpy as np

from leakyrelu._shared.progress import Progress
from leakyrelu._shared.wording import in_one_line
from leakyrelu.tuning.objective import Objective
from leakyrelu.tuning.results import REFERENCES, Slope, SlopeState
from leakyrelu.tuning.storage import WORKER, Trials, quiet

if TYPE_CHECKING:
    from optuna import Study
    from optuna.trial import FrozenTrial, Trial

__all__ = ["Worker", "finished"]

_ALPHA, _SIGN, _FRACTIONS, _ERROR = "alpha", "sign_of_life", "never_positive", "error"
_LEFT = "its worker ended before it did"
_SIGN_SECONDS = 3.0
_SILENCE_SECONDS = 20.0  # after so long without a sign of life, a worker counts as gone
_WAIT_SECONDS = 0.2


class Worker:
    """Takes trials one after the other, and runs them."""

    def __init__(
        self, study: "Study", trials: Trials, objective: Objective, limits: tuple[float, float], seeds: list[int]
    ) -> None:
        self.study, self.trials, self.objective, self.limits, self.seeds = study, trials, objective, limits, seeds
        self.name = secrets.token_hex(8)
        self.signs: dict[int, tuple[Any, float]] = {}  # by trial: the last sign of life, and when it was first seen
        self.looked = 0.0  # when signs were looked for

    def take(self, total: int, progress: Progress) -> "Trial | None":
        """Take a trial for this worker alone, and wait while others run the last ones; None if all are finished."""
        while True:
            trials = self.study.get_trials(deepcopy=False)[:total]
            progress(sum(trial.state.is_finished() for trial in trials), total)
            if (taken := self._claimed(trials)) is not None:
                if taken.number < total:
                    return taken
                self.trials.put_back(taken)  # Optuna has made one more than were asked for
            if self._put_back_the_gone(trials):
                continue
            if len(trials) < total:
                self.trials.add()
            elif all(trial.state.is_finished() for trial in trials):
                return None
            else:  # other workers run the last ones, or have just taken them
                time.sleep(_WAIT_SECONDS)

    def _claimed(self, trials: "list[FrozenTrial]") -> "Trial | None":
        """Take the first waiting trial that no other worker takes first; None if there is none."""
        from optuna.samplers import TPESampler
        from optuna.trial import TrialState

        for trial in trials:
            if trial.state == TrialState.WAITING and (claimed := self._claim(trial)) is not None:
                # Seeded by the trial's number, the sampler proposes the same after an interruption as without one, and
                # to no two workers the same.
                with quiet():
                    self.study.sampler = TPESampler(seed=claimed.number, constant_liar=True)
                return claimed
        return None

    def _claim(self, trial: "FrozenTrial") -> "Trial | None":
        return self.trials.claim(trial, self.name)

    def _put_back_the_gone(self, trials: "list[FrozenTrial]") -> bool:
        """Set the trials of workers that are gone back to waiting; return whether there were any."""
        from optuna.trial import TrialState

        looked, self.looked = self.looked, time.monotonic()
        if self.looked - looked > _SIGN_SECONDS + 2 * _WAIT_SECONDS:
            self.signs.clear()  # nobody has watched, and perhaps nobody could leave a sign: the storage was down
        gone = [trial for trial in trials if trial.state == TrialState.RUNNING and self._is_gone(trial)]
        for trial in gone:
            self.trials.put_back(trial)
        return bool(gone)

    def _is_gone(self, trial: "FrozenTrial") -> bool:
        """Whether a trial's worker is silent. Signs are compared with each other, never with another's clock."""
        sign = (trial.user_attrs.get(WORKER), trial.user_attrs.get(_SIGN))
        now = time.monotonic()
        if self.signs.get(trial.number, (None, now))[0] != sign:
            self.signs[trial.number] = (sign, now)
        return now - self.signs[trial.number][1] > _SILENCE_SECONDS

    def _is_mine(self, trial: "Trial") -> bool:
        """Whether the trial is still ours: if this process was asleep for long, another worker may have taken it."""
        from optuna.trial import TrialState

        now = self.trials.now(trial)
        return now.state == TrialState.RUNNING and now.user_attrs.get(WORKER) == self.name

    @contextmanager
    def _signs_of_life(self, trial: "Trial") -> Iterator[None]:
        done = threading.Event()

        def leave_signs() -> None:
            count = 0
            while not done.wait(_SIGN_SECONDS):
                count += 1
                with suppress(Exception):  # if the database is busy, the next sign will do
                    self.trials.sign(trial, _SIGN, f"{self.name} {count}")
            self.trials.leave()

        thread = threading.Thread(target=leave_signs, name="leakyrelu-sign-of-life", daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()

    def run(self, trial: "Trial") -> None:
        """Run the trial's slope on the seeds that are left, and tell the study how it ended."""
        try:
            with self._signs_of_life(trial):
                ended = self._run_seeds(trial, dict(trial.user_attrs))
        except (KeyboardInterrupt, GeneratorExit):
            self.trials.put_back(trial)  # the next worker runs the interrupted seed again
            raise
        if ended is None or not self._is_mine(trial):
            return
        scores = self.trials.now(trial).intermediate_values.values()
        mean = float(np.mean(list(scores))) if ended is SlopeState.COMPLETE else None
        self.study.tell(trial, mean, _optuna_state(ended))

    def _run_seeds(self, trial: "Trial", known: dict[str, Any]) -> SlopeState | None:
        """Run the seeds that are left. Return how the trial ended; None if another worker has taken it."""
        alpha = known[_ALPHA] if _ALPHA in known else self._slope(trial)
        fractions = dict(known.get(_FRACTIONS, {}))
        done = self.trials.now(trial).intermediate_values
        for step, seed in enumerate(self.seeds):
            if step in done:
                continue
            try:
                score, fraction = _score(self.objective(alpha, seed))
            except (KeyboardInterrupt, GeneratorExit):
                raise
            except BaseException as error:  # noqa: BLE001  # whatever somebody's code does
                said = f"seed {seed}: {type(error).__name__}: {in_one_line(error)}".removesuffix(": ")
                trial.set_user_attr(_ERROR, said[:500])
                return SlopeState.FAILED
            if not self._is_mine(trial):
                return None
            if fraction is not None:
                fractions[str(step)] = fraction
                trial.set_user_attr(_FRACTIONS, fractions)
            trial.report(score, step)
            if trial.number >= len(REFERENCES) and step < len(self.seeds) - 1 and trial.should_prune():
                return SlopeState.PRUNED
        return SlopeState.COMPLETE

    def _slope(self, trial: "Trial") -> float:
        if trial.number < len(REFERENCES):
            alpha = REFERENCES[trial.number]
        else:
            alpha = trial.suggest_float(_ALPHA, *self.limits, log=True)
        trial.set_user_attr(_ALPHA, alpha)
        return alpha


def _score(result: Any) -> tuple[float, float | None]:
    score, fraction = result if isinstance(result, tuple) else (result, None)
    score = float(score)
    if not isfinite(score):
        raise ValueError(f"the objective gave {score}")
    if fraction is None:
        return score, None
    fraction = float(fraction)
    if not 0 <= fraction <= 1:
        raise ValueError(f"the objective gave {fraction} as the fraction of units never above zero")
    return score, fraction


def _optuna_state(state: SlopeState) -> Any:
    from optuna.trial import TrialState

    return {
        SlopeState.COMPLETE: TrialState.COMPLETE,
        SlopeState.PRUNED: TrialState.PRUNED,
        SlopeState.FAILED: TrialState.FAIL,
    }[state]


def finished(study: "Study", seeds: list[int]) -> tuple[Slope, ...]:
    """The slopes whose trials are finished, in the order of the trials."""
    states = {_optuna_state(state): state for state in SlopeState}
    return tuple(
        Slope(
            trial=trial.number,
            alpha=trial.user_attrs[_ALPHA],
            state=states[trial.state],
            scores={seeds[step]: score for step, score in sorted(trial.intermediate_values.items())},
            never_positive={seeds[int(step)]: x for step, x in trial.user_attrs.get(_FRACTIONS, {}).items()},
            error=trial.user_attrs.get(_ERROR, _LEFT) if trial.state == _optuna_state(SlopeState.FAILED) else None,
        )
        for trial in study.get_trials(deepcopy=False)
        if trial.state in states and _ALPHA in trial.user_attrs
    )
