"""What the callbacks of trainers share: they count, tell the loggers, warn or stop, and revive units between epochs."""

import warnings
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, distributed, nn

from leakyrelu._backends.torch_private import tree_map_only
from leakyrelu.torch.masking import Mask
from leakyrelu.torch.monitor import Monitor
from leakyrelu.torch.passes import Pass
from leakyrelu.torch.revival import Revival, revive
from leakyrelu.torch.running import refuse_unchangeable
from leakyrelu.units.diagnosis import Diagnosis
from leakyrelu.units.scalars import scalars_of

__all__ = ["Watch"]


class Watch:
    """Watches the units of a model from the beginning of a training to its end.

    Parameters
    ----------
    every, window, mask
        As for `Monitor`.
    per_site : bool
        Whether the loggers get the fraction of dead units of each site, too.
    warn_above, stop_above : float, optional
        Fractions of dead units, in the counts of a full window.
    revive : int
        How many of the last passes the units are revived on; 0: they are not revived.
    """

    def __init__(
        self,
        *,
        every: int,
        window: int,
        mask: Mask | None,
        per_site: bool,
        warn_above: float | None,
        stop_above: float | None,
        revive: int,
    ) -> None:
        Monitor(nn.Identity(), every=every, window=window, mask=mask)  # tells now what is wrong with the options
        fractions: dict[str, Any] = {"warn_above": warn_above, "stop_above": stop_above}
        for name, value in fractions.items():
            if value is not None and not (isinstance(value, int | float) and 0 <= value <= 1):
                raise ValueError(f"{name} must be a fraction of all units, from 0 to 1, or None, got {value}")
        if isinstance(revive, bool) or not isinstance(revive, int) or revive < 0:
            raise ValueError(f"revive must be the number of passes to revive units on, such as 20, or 0, got {revive}")
        self._options: dict[str, Any] = {"every": every, "window": window, "mask": mask}
        self._per_site = per_site
        self._warn_above, self._stop_above = warn_above, stop_above
        self._revive = revive
        self._passes: deque[list[_Call]] = deque(maxlen=revive)
        self._pass: Pass | None = None  # the last one
        self._is_above = False  # whether more units are dead than `warn_above`, which was warned of
        self._is_told = False  # whether it was warned that there is nothing to log
        self._state: Mapping[str, Any] | None = None  # to go on from
        self._revived = 0
        self.monitor: Watched | None = None
        self.revival: Revival | None = None  # the last one

    def __getstate__(self) -> dict[str, Any]:
        of_a_model: dict[str, Any] = {"monitor": None, "_pass": None, "_passes": deque(maxlen=self._revive)}
        return vars(self) | of_a_model  # a copy has no model, as it has no hooks on it

    def begin(
        self, model: nn.Module, *, step: str = "", going_on: Callable[[], bool] | None = None, **options: Any
    ) -> None:
        """Observe a model.

        Parameters
        ----------
        model : nn.Module
            The model.
        step : str, optional
            Where the trainer tells of its steps, by `Watched.step`: what it calls them. Passes are then these steps.
        going_on : callable, optional
            Where nobody tells of the end: whether the training still runs.
        **options
            Instead of those that the user gave.
        """
        self.end()
        if self._revive:
            if distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1:
                raise ValueError(
                    "revive works in a training of one process; give revive=0 here, "
                    "and call leakyrelu.torch.revive with the same batches and generator on all ranks"
                )
            refuse_unchangeable(model)
        self.monitor = Watched(model, step, going_on, **(self._options | options))
        if self._revive:
            self.monitor.record_calls(self._record)
        if self._state is not None:
            self.monitor.load_state_dict(self._state)
            self._state = None
        self._passes.clear()
        self._is_above = self._is_told = False
        self._revived = 0
        self.monitor.attach()

    def end(self) -> None:
        """Observe no longer. What was counted is kept."""
        self._passes.clear()
        self._pass = None
        if self.monitor is not None:
            self.monitor.detach()

    def diagnosis(self) -> Diagnosis:
        """Diagnose the last full window, as `Monitor.diagnosis` does."""
        return self._monitor().diagnosis()

    def note(self, text: str) -> None:
        """Add a note to the diagnoses."""
        self._monitor().note(text)

    def state_dict(self) -> dict[str, Any]:
        """What was counted, to be saved; all ranks must call this."""
        return dict(self._state or {}) if self.monitor is None else self.monitor.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Let the next training go on from what was counted in another one."""
        self._state = state or None

    @property
    def resumes(self) -> bool:
        """Whether the next training goes on from what was counted in another one."""
        return self._state is not None

    def report(self) -> tuple[dict[str, float], bool]:
        """What the loggers get, and whether to stop the training; all ranks must call this, and get the same."""
        monitor = self._monitor()
        try:
            diagnosis = monitor.diagnosis()
        except ValueError as error:  # no reason to end the training
            if not self._is_told:
                _warn(f"there is nothing to log on dead units: {error}")
            self._is_told = True
            return {}, False
        scalars = scalars_of(diagnosis, per_site=self._per_site)
        if self._revive:
            scalars["units/revived"] = float(self._revived)
            self._revived = 0
        dead = scalars["units/dead_fraction"] if monitor.has_full_window() else 0.0
        is_above = self._warn_above is not None and dead > self._warn_above
        if is_above and not self._is_above:
            _warn(f"{_in_words(diagnosis)}, which is more than warn_above={self._warn_above}")
        self._is_above = is_above
        stops = self._stop_above is not None and dead > self._stop_above
        if stops:
            _warn(f"the training stops: {_in_words(diagnosis)}, which is more than stop_above={self._stop_above}")
        return scalars, stops

    def revive(self, model: nn.Module, optimizers: Sequence[torch.optim.Optimizer]) -> None:
        """Revive the dead units on the last passes, and begin a new window; to be called between two epochs."""
        monitor = self._monitor()
        passes = list(self._passes)
        if not passes or not monitor.diagnosis().dead:
            return
        try:
            self.revival = revive(model, passes, forward=_repeated, optimizer=list(optimizers))
        except RuntimeError as error:
            _warn(f"no unit was revived: {error}")
            return
        self._revived += sum(map(len, self.revival.revived.values()))
        self._passes.clear()
        monitor.reset()

    def _monitor(self) -> "Watched":
        if self.monitor is None:
            raise RuntimeError("no training has begun yet, so nothing was counted; let the trainer train first")
        return self.monitor

    def _record(self, this: Pass, module: nn.Module, args: Any, kwargs: Any) -> None:
        if this is not self._pass:
            self._pass = this
            self._passes.append([])
        args, kwargs = tree_map_only(Tensor, Tensor.detach, (args, kwargs))
        some = next(module.parameters(), None)
        device = "cpu" if some is None else some.device.type
        dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else None
        self._passes[-1].append(_Call(module, args, kwargs, device, dtype))


class Watched(Monitor):
    """A monitor that the trainer tells of its steps, or that notices for itself when the training is over."""

    def __init__(self, model: nn.Module, step: str, going_on: Callable[[], bool] | None, **options: Any) -> None:
        self._going_on = going_on
        self._is_in_step = not step
        super().__init__(model, **options)
        self._capture.block = step

    def has_full_window(self) -> bool:
        """Whether a diagnosis covers a full window."""
        return self._last is not None or self._is_full()

    def record_calls(self, record: Callable[[Pass, nn.Module, Any, Any], object]) -> None:
        """Let `record` be called with each call in a pass that comes from outside of the model."""
        self._capture.on_call = record

    def note(self, text: str) -> None:
        """Add a note to the diagnoses."""
        self._capture.notes[text] = None

    @contextmanager
    def step(self, batch: object) -> Iterator[None]:
        """Observe all that happens in this block as one pass."""
        self._is_in_step = True
        try:
            with self._capture.one_pass(batch):
                yield
        finally:
            self._is_in_step = False

    def _wanted(self, called: Any) -> bool:
        if self._going_on is not None and not self._going_on():
            self.detach()  # an error ended the training, and its trainer did not tell
            return False
        return self._is_in_step and super()._wanted(called)


class _Call(NamedTuple):
    """A call of a module from outside of the model, such that it can be repeated."""

    module: nn.Module
    args: Any
    kwargs: Any
    device: str
    autocast: torch.dtype | None


def _repeated(_: object, calls: Sequence[_Call]) -> list[object]:
    """What the calls of a pass give now."""
    outputs = []
    for module, args, kwargs, device, dtype in calls:
        with torch.autocast(device, dtype, enabled=dtype is not None):
            outputs.append(module(*args, **kwargs))
    return outputs


def _in_words(diagnosis: Diagnosis) -> str:
    worst = max(diagnosis.sites, key=lambda site: len(site.dead) / site.units)
    return (
        f"{diagnosis.dead} of {diagnosis.units} units ({diagnosis.dead_fraction:.1%}) fired on none of the last "
        f"{diagnosis.examples:,} examples ({worst.name}: {len(worst.dead)} of {worst.units})"
    )


def _warn(text: str) -> None:
    if not (distributed.is_available() and distributed.is_initialized() and distributed.get_rank()):
        warnings.warn(text, stacklevel=2)
