"""For Lightning: a callback that logs how many units are dead, for `lightning` and for `pytorch_lightning`."""

from functools import wraps
from importlib import import_module
from importlib.util import find_spec
from types import new_class
from typing import TYPE_CHECKING, Any

from leakyrelu._shared.extras import needs

if TYPE_CHECKING:
    from collections.abc import Callable

    from lightning.pytorch import Callback, LightningModule, Trainer
    from torch import Tensor

with needs("leakyrelu[lightning]", "leakyrelu.lightning"):
    if not TYPE_CHECKING:
        # The two libraries have the same classes twice. A callback of both is right for either's Trainer.
        _installed = [name for name in ("lightning", "pytorch_lightning") if find_spec(name)] or ["lightning"]
        _modules = [import_module("lightning.pytorch" if name == "lightning" else name) for name in _installed]
        Callback = new_class("Callback", tuple(module.Callback for module in _modules))

from leakyrelu._backends.torch_private import is_compiled
from leakyrelu.torch.monitor import Monitor
from leakyrelu.torch.revival import Revival
from leakyrelu.torch.watching import Watch
from leakyrelu.units.diagnosis import Diagnosis

__all__ = ["DeadUnits"]


class DeadUnits(Callback):
    """Counts the units that never fire while Lightning trains, and logs them with the trainer's own loggers.

    A pass is one call of `training_step`, whatever it calls. Validation, sanity checks, tests and predictions do not
    count. Where the trainer logs (`log_every_n_steps`), the loggers get ``"units/dead_fraction"``, and likewise
    ``one_sided``, ``rare``, ``always_on``, ``dormant`` and ``nan``: fractions of all units. They are in
    ``trainer.callback_metrics``, too, so other callbacks can monitor them. In a training of several processes, the
    counts are those of all processes together. A checkpoint holds what was counted, and a resumed training goes on from
    it; all processes must save it together, as Lightning's own checkpoints do.

    The callback is right for the Trainer of `lightning` and for that of `pytorch_lightning`.

    Parameters
    ----------
    every : int, default 1
        1 counts every training step, 2 every second step, and so on.
    window : int, default 100
        How many counted steps a diagnosis covers.
    mask : str or callable, optional
        Tells which tokens are real, as for `leakyrelu.torch.diagnose`: the name of the mask in the batch, or a function
        of the batch.
    per_site : bool, default False
        Whether to log ``"units/dead_fraction/NAME"`` for each site as well.
    warn_above : float, optional
        Warn when more than this fraction of all units is dead. It is judged whenever the trainer logs, from the first
        full window on.
    stop_above : float, optional
        Stop the training (`trainer.should_stop`) when more than this fraction is dead, judged likewise.
    revive : int, default 0
        How many of the last steps of an epoch dead units are revived on, before the next epoch begins: what they called
        is called again by `leakyrelu.torch.revive`, with the trainer's optimizers. Units that fire on none of these
        examples are taken for dead, so take enough steps for some thousand examples. 0 revives nothing.
        ``"units/revived"`` is then logged, too.

    Raises
    ------
    TypeError, ValueError
        An option is none of its choices. When the training begins: the module is compiled, or `revive` is to work in
        several processes or on a sharded model.

    See Also
    --------
    leakyrelu.torch.Monitor : counts in a training loop of one's own.

    Examples
    --------
    ::

        trainer = Trainer(callbacks=[DeadUnits(stop_above=0.5)])
    """

    def __init__(
        self,
        *,
        every: int = 1,
        window: int = 100,
        mask: "str | Callable[[Any], Tensor | None] | None" = None,
        per_site: bool = False,
        warn_above: float | None = None,
        stop_above: float | None = None,
        revive: int = 0,
    ) -> None:
        self._watch = Watch(
            every=every,
            window=window,
            mask=mask,
            per_site=per_site,
            warn_above=warn_above,
            stop_above=stop_above,
            revive=revive,
        )
        self._revives = bool(revive)
        self._begun = False  # whether an epoch has, of this training
        self._undo: Callable[[], object] | None = None  # a function cannot be pickled, as "ddp_spawn" does

    @property
    def monitor(self) -> Monitor | None:
        """The monitor of the current training, or of the last one."""
        return self._watch.monitor

    @property
    def revival(self) -> Revival | None:
        """What the last revival did."""
        return self._watch.revival

    def diagnosis(self) -> Diagnosis:
        """Diagnose the last full window, as `leakyrelu.torch.Monitor.diagnosis` does."""
        return self._watch.diagnosis()

    def on_train_start(self, trainer: "Trainer", pl_module: "LightningModule") -> None:
        """Begin to count."""
        compiled = [name for name, module in pl_module.named_modules() if is_compiled(module)]
        if compiled or getattr(pl_module, "_compiler_ctx", None) is not None:
            what = next(filter(None, compiled), "the LightningModule")
            raise TypeError(
                f"{what} is compiled, so its activations cannot be seen while it trains; train it without "
                "torch.compile, or without DeadUnits and with the backend of a leakyrelu.torch.Monitor"
            )
        self._end()
        lacks_counts = trainer.ckpt_path is not None and not self._watch.resumes
        self._watch.begin(pl_module, step="training_step")
        if lacks_counts:
            self._watch.note("the checkpoint holds no counts, so they begin where the training was resumed")
        self._undo = _tells_steps(pl_module, self._watch)
        self._begun = False

    def on_train_epoch_start(self, trainer: "Trainer", pl_module: "LightningModule") -> None:
        """Revive units after all epochs but the last one, as no training follows that."""
        if self._revives and self._begun:
            self._watch.revive(pl_module, trainer.optimizers)
        self._begun = True

    def on_train_batch_end(self, trainer: "Trainer", pl_module: "LightningModule", *_: object, **__: object) -> None:
        """Log where the trainer logs."""
        if _logs_now(trainer, pl_module):
            scalars, stops = self._watch.report()
            pl_module.log_dict(scalars, on_step=True, on_epoch=False, batch_size=1)
            trainer.should_stop = trainer.should_stop or stops

    def on_train_end(self, trainer: "Trainer", pl_module: "LightningModule") -> None:
        """Count no longer."""
        self._end()

    def on_exception(self, trainer: "Trainer", pl_module: "LightningModule", exception: BaseException) -> None:
        """Count no longer, also where the training ends otherwise."""
        self._end()

    def teardown(self, trainer: "Trainer", pl_module: "LightningModule", stage: str) -> None:
        """The same."""
        self._end()

    def _end(self) -> None:
        if self._undo is not None:
            self._undo()
        self._undo = None
        self._watch.end()

    def state_dict(self) -> dict[str, Any]:
        """What goes into a checkpoint."""
        return self._watch.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Let the training that is resumed go on from what was counted before."""
        self._watch.load_state_dict(state_dict)


def _tells_steps(module: "LightningModule", watch: Watch) -> "Callable[[], object]":
    """Let each `training_step` be a pass, until the function that is returned is called.

    A step may call activations itself, outside of any module that a hook could be on.
    """
    monitor, before = watch.monitor, module.training_step
    if monitor is None:
        return lambda: None

    @wraps(before)
    def training_step(*args: Any, **kwargs: Any) -> Any:
        batch = args[0] if args else next(iter(kwargs.values()), None)
        with monitor.step(batch):
            return before(*args, **kwargs)

    own = vars(module).get("training_step")
    module.training_step = training_step  # type: ignore[method-assign]

    def undo() -> None:
        if vars(module).get("training_step") is training_step:
            del module.training_step
            if own is not None:
                module.training_step = own  # type: ignore[method-assign]

    return undo


def _logs_now(trainer: "Trainer", module: "LightningModule") -> bool:
    """Whether the trainer passes on what is logged in this step, which is known to its connector alone."""
    loop = trainer.fit_loop
    if module.automatic_optimization and loop._should_accumulate():  # noqa: SLF001
        return False
    return bool(trainer._logger_connector.should_update_logs) or bool(vars(trainer).get("fast_dev_run"))  # noqa: SLF001
