"""For the Trainer of Hugging Face Transformers: a callback that logs how many units are dead."""

import inspect
import weakref
from collections.abc import Callable, Iterator, Mapping
from os import PathLike
from pathlib import Path
from types import FrameType
from typing import Any

from leakyrelu._shared.extras import needs

with needs("leakyrelu[transformers]", "leakyrelu.transformers"):
    import torch
    from torch import Tensor, nn
    from transformers.activations import LinearActivation
    from transformers.trainer import Trainer
    from transformers.trainer_callback import TrainerCallback, TrainerControl, TrainerState
    from transformers.training_args import TrainingArguments

from leakyrelu._backends.torch_private import is_compiled
from leakyrelu.torch.capture import Call, watch
from leakyrelu.torch.masking import Mask
from leakyrelu.torch.monitor import Monitor
from leakyrelu.torch.revival import Revival
from leakyrelu.torch.running import run_batch
from leakyrelu.torch.watching import Watch
from leakyrelu.units.diagnosis import Diagnosis

__all__ = ["DeadUnitsCallback"]

_FILE = "dead_units.pt"  # in the folder of a checkpoint
_MASK = "attention_mask"


class DeadUnitsCallback(TrainerCallback):
    """Counts the units that never fire while a `Trainer` trains, and logs them with all that the Trainer logs to.

    A pass is one call of the model with gradients, so evaluation does not count. With each training loss that is logged
    (`logging_steps`), the logs get ``"units/dead_fraction"``, and likewise ``one_sided``, ``rare``, ``always_on``,
    ``dormant`` and ``nan``: fractions of all units. All loggers and callbacks see them, and so do ``log_history``,
    ``trainer_state.json`` and what is printed: the callback moves to the front of the Trainer's callbacks when the
    training begins. In a training of several processes, the counts are those of all processes together. A checkpoint's
    folder holds what was counted (``dead_units.pt``), and a training that is resumed from it goes on from there.

    Parameters
    ----------
    every : int, default 1
        1 counts every pass, 2 every second pass, and so on.
    window : int, default 100
        How many counted passes a diagnosis covers.
    mask : str or callable, optional
        Tells which tokens are real, as for `leakyrelu.torch.Monitor`. By default it is the `attention_mask` that the
        model is called with, where its forward takes one: padding does not count. None counts all values. The decoder
        of an encoder-decoder model has tokens of its own, so all values of such a model count by default; a note in
        the diagnosis says so.
    per_site : bool, default False
        Whether to log ``"units/dead_fraction/NAME"`` for each site as well.
    warn_above : float, optional
        Warn when more than this fraction of all units is dead. It is judged whenever the Trainer logs, from the first
        full window on.
    stop_above : float, optional
        Stop the training when more than this fraction is dead, judged likewise.
    revive : int, default 0
        How many of the last passes of an epoch dead units are revived on, before the next epoch begins: by
        `leakyrelu.torch.revive`, with the Trainer's optimizer. Units that fire on none of these examples are taken for
        dead, so take enough passes for some thousand examples. 0 revives nothing. ``"units/revived"`` is then logged,
        too.

    Raises
    ------
    TypeError, ValueError
        An option is none of its choices. When the training begins: the model is compiled, or `revive` is to work in
        several processes or on a sharded model.

    See Also
    --------
    leakyrelu.torch.Monitor : counts in a training loop of one's own, such as one with Accelerate.

    Notes
    -----
    No callback is told of an error that ends a training. If one did, the callback counts no more, and its hooks leave
    the model when the model is called again, when the next training begins, or when the Trainer is deleted.

    Examples
    --------
    ::

        trainer = Trainer(model, arguments, train_dataset=data, callbacks=[DeadUnitsCallback(stop_above=0.5)])
    """

    def __init__(
        self,
        *,
        every: int = 1,
        window: int = 100,
        mask: Mask | None = _MASK,
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
        self._mask, self._revives = mask, bool(revive)
        self._begun = False  # whether an epoch has, of this training
        weakref.finalize(self, self._watch.end)

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

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Begin to count."""
        model = kwargs["model"]
        frame, trainer = _trainer()
        if args.torch_compile or (trainer is not None and any(map(is_compiled, trainer.model_wrapped.modules()))):
            raise TypeError(
                "the model is compiled (torch_compile=True, or Accelerate's dynamo_backend), so its activations cannot "
                "be seen while it trains; train it uncompiled, or without DeadUnitsCallback and with the backend of a "
                "leakyrelu.torch.Monitor"
            )
        self._watch.end()
        if trainer is not None:
            Monitor(trainer.model_wrapped)  # refuses replicas in threads, which cannot be seen in the model within
        notes = [self._resume(args, state, frame)] if state.global_step else []
        options: dict[str, Any] = {}
        if self._mask == _MASK:
            options, note = _mask_for(model)
            notes.append(note)
        self._watch.begin(model, going_on=_is_running(frame), **options)
        for note in filter(None, (*notes, *_hidden(model))):
            self._watch.note(note)
        self._begun = False
        if trainer is not None:  # loggers that came before would not see what `on_log` adds
            others = [each for each in trainer.callback_handler.callbacks if each is not self]
            trainer.callback_handler.callbacks = [self, *others]

    def _resume(self, args: TrainingArguments, state: TrainerState, frame: FrameType | None) -> str:
        """Load what was counted, or return a note on why not."""
        usual = Path(args.output_dir or "", f"checkpoint-{state.global_step}")
        told = frame and frame.f_locals.get("resume_from_checkpoint")
        path = (Path(told) if isinstance(told, str | PathLike) else usual) / _FILE
        if path.is_file():
            self._watch.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
            return ""
        return f"{path} is missing, so the counts begin where the training was resumed"

    def on_epoch_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Revive units after all epochs but the last one, as no training follows that."""
        if self._revives and self._begun:
            self._watch.revive(kwargs["model"], [kwargs["optimizer"]])
        self._begun = True

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Add to the logs of a training step."""
        if logs is None or "loss" not in logs or self._watch.monitor is None:
            return
        scalars, stops = self._watch.report()
        logs.update(scalars)
        last = state.log_history[-1] if state.log_history else {}
        if "loss" in last and last.get("step") == state.global_step:  # a copy, made before any callback was called
            last.update(scalars)
        control.should_training_stop = control.should_training_stop or stops

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Put what was counted into the folder of the checkpoint."""
        counted = self._watch.state_dict()  # by all processes
        folder = Path(args.output_dir or "", f"checkpoint-{state.global_step}")
        if args.should_save and folder.is_dir():
            torch.save(counted, folder / _FILE)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Count no longer."""
        self._watch.end()


def _trainer() -> tuple[FrameType | None, Any]:
    """The Trainer whose training begins, and its frame; a Trainer passes itself to no callback."""
    frame = inspect.currentframe()
    while frame is not None:
        trainer = frame.f_locals.get("self")
        if isinstance(trainer, Trainer):
            return frame, trainer
        frame = frame.f_back
    return None, None


def _is_running(this: FrameType | None) -> Callable[[], bool] | None:
    """A function that tells whether this frame is among its callers; None if there is none."""
    if this is None:
        return None
    known = id(this), this.f_code  # the frame itself would keep the Trainer and all that it holds

    def is_running() -> bool:
        frame = inspect.currentframe()
        while frame is not None and (id(frame), frame.f_code) != known:
            frame = frame.f_back
        return frame is not None

    return is_running


def _mask_for(model: nn.Module) -> tuple[dict[str, Any], str]:
    """What to take for a mask if the user gives none, and a note on it."""
    parameters = inspect.signature(model.forward).parameters
    takes_any = any(each.kind is inspect.Parameter.VAR_KEYWORD for each in parameters.values())
    main = getattr(model, "main_input_name", "input_ids")
    is_of_images = main == "pixel_values" and "input_ids" not in parameters  # an image has no padding
    if is_of_images or (_MASK not in parameters and not (takes_any and main == "input_ids")):
        return {"mask": None}, ""
    if getattr(getattr(model, "config", None), "is_encoder_decoder", False):
        return {"mask": None}, "the model has an encoder and a decoder, with tokens of their own, so padding counts"
    return {"mask": _real_tokens}, ""


def _hidden(model: nn.Module) -> Iterator[str]:
    """Notes on the activations of Transformers that are computed by hand, in which no activation is seen."""
    found: dict[type[nn.Module], list[str]] = {}
    for name, module in model.named_modules():
        if type(module).__module__ == "transformers.activations" and not isinstance(module, LinearActivation):
            found.setdefault(type(module), []).append(name)
    for kind, names in found.items():
        seen: list[Call] = []
        module = model.get_submodule(names[0])
        some = next(model.parameters(), torch.zeros(0))
        with torch.no_grad():
            watch(module, [some.new_zeros(1, 1)], run_batch, seen.append)
        if not seen:
            more = f" and {len(names) - 1} more" if len(names) > 1 else ""
            yield f"{kind.__name__} ({names[0]}{more}) computes its activation by hand; its units are not seen"


def _real_tokens(arguments: Mapping[str, Any]) -> Tensor | None:
    """The attention mask, if it tells which tokens are real, and not which of them see which."""
    mask = arguments.get(_MASK)
    return mask if isinstance(mask, Tensor) and mask.ndim == 2 and not mask.is_floating_point() else None
