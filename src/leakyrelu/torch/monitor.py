"""Finds the dead units of a model while it trains."""

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, Self

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DataParallel

from leakyrelu._backends.torch_private import compiler_of, is_compiled
from leakyrelu._shared.arguments import positive_integer
from leakyrelu.torch.capture import IF_COMPILED, Call, Capture, nothing_seen
from leakyrelu.torch.compiled import Compiled, Compiler
from leakyrelu.torch.counts import Counts, Record, added, together
from leakyrelu.torch.masking import Mask, checked_mask
from leakyrelu.torch.resuming import by_path, checked_state, examples_together, modules_by_path, packed, unpacked
from leakyrelu.torch.running import seen_through
from leakyrelu.torch.sharding import ranks_of
from leakyrelu.units.diagnosis import Diagnosis
from leakyrelu.units.scalars import scalars_of

__all__ = ["Monitor"]

_NOT_SAVED = "what is counted in compiled code is not saved, so the counts begin where the training was resumed"


class Monitor:
    """Finds the dead units of a model while it trains, as `diagnose` does on given data.

    It observes the passes in which gradients are recorded, so validation under `torch.no_grad` does not count. A pass
    is a call of the model, or of a part of it that is called from outside; each such part has passes of its own. Use
    the monitor in a ``with`` statement, or call `attach` and `detach`.

    Parameters
    ----------
    model : torch.nn.Module
        The model that is trained, not compiled yet: `backend` says how it is then compiled. A model wrapped by
        `DistributedDataParallel` may be given with or without the wrapper. A sharded model is given as it is, and its
        sites have the names that they had before.
    every : int, default 1
        1 observes every pass, 2 every second pass, and so on.
    window : int, default 100
        How many observed passes a diagnosis covers.
    mask : str or callable, optional
        Tells which tokens are real, as for `diagnose`. A name is that of an argument of the model's forward. A
        function is called with a dictionary of the arguments by name. A wrong name or mask raises an error in the
        first pass.

    Raises
    ------
    TypeError
        `model` is not a module, or is scripted or compiled, or a part of it is; or `DataParallel` replicates it on
        several devices; or `every` or `window` is no integer; or `mask` is neither a name nor a function.
    ValueError
        `every` or `window` is less than 1.

    See Also
    --------
    diagnose : does the same on given data, and says what counts as an activation and as a unit.

    Examples
    --------
    >>> import torch
    >>> from leakyrelu.torch import Monitor
    >>> model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 1))
    >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    >>> with Monitor(model) as monitor:
    ...     for _ in range(10):
    ...         optimizer.zero_grad()
    ...         model(torch.randn(32, 4)).square().mean().backward()
    ...         optimizer.step()
    >>> monitor.diagnosis().examples
    320
    >>> sorted(monitor.scalars())[:2]
    ['units/always_on_fraction', 'units/dead_fraction']

    With TensorBoard, every hundred steps::

        for name, value in monitor.scalars().items():
            writer.add_scalar(name, value, step)
    """

    def __init__(self, model: nn.Module, *, every: int = 1, window: int = 100, mask: Mask | None = None) -> None:
        every, window = positive_integer("every", every), positive_integer("window", window)
        bare = seen_through(model)
        for name, module in model.named_modules():
            if is_compiled(module):
                raise TypeError(
                    f"{name or 'the model'} is compiled, so its activations cannot be seen; {IF_COMPILED}, or call "
                    "diagnose every so often, which runs it uncompiled"
                )
            if isinstance(module, DataParallel) and len(module.device_ids) > 1:
                raise TypeError("the replicas of DataParallel cannot be seen; use DistributedDataParallel")
        self._every, self._window = every, window
        self._has_mask = mask is not None
        self._capture = Capture(bare, self._observe, self._wanted, checked_mask(mask))
        self._compiled: Compiled | None = None
        self.reset()

    def attach(self) -> Self:
        """Start observing, and return the monitor."""
        if self._compiled is None:
            self._capture.attach()
        else:
            self._compiled.is_counting = True
        return self

    def detach(self) -> None:
        """Stop observing. What was counted is kept."""
        if self._compiled is None:
            self._capture.detach()
        else:
            self._compiled.is_counting = False

    def backend(
        self,
        backend: str | Compiler = "inductor",
        *,
        exact: bool = False,
        mode: str | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> Compiler:
        """A backend for `torch.compile` with which the compiled model is observed.

        Hooks would break compiled code into pieces. So the counts are added to the graphs that are compiled, and the
        compiler fuses them with what it computes anyway. Observing starts at once; `detach` stops it. From the first
        call of this on, only compiled code is observed, and what was counted before is forgotten.

        Parameters
        ----------
        backend : str or callable, default "inductor"
            What compiles the graphs: whatever ``torch.compile(backend=...)`` takes.
        exact : bool, default False
            False counts a flat activation such as ReLU from its output alone, so that it can be fused with what comes
            before it. The largest value that entered is not known then: ``maximum`` of its site is None, ``below`` says
            whether a value was zero or below, and ``always_on`` holds the units that were above zero at each value.
            True counts what enters, too, and takes longer.
        mode, options
            As those of `torch.compile`, which passes them to its own backend only.

        Returns
        -------
        callable
            To be passed to ``torch.compile(model, backend=...)``, or to ``module.compile(backend=...)``.

        Raises
        ------
        ValueError
            The monitor has a mask; or `mode` or `options` are given for another backend than ``"inductor"``.

        Notes
        -----
        Sites, units, numbers of values and examples, times above zero and mean outputs are those of the model that is
        not compiled, up to the rounding of the compiler. Activations within a call of `torch.cond` and the like are not
        seen, nor is what runs uncompiled; the notes of the diagnosis name such calls, and the modules that ran in no
        compiled graph. With ``every`` above 1, or where gradients are not recorded, a graph without counts runs.

        Examples
        --------
        >>> import torch
        >>> from leakyrelu.torch import Monitor
        >>> model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 1))
        >>> monitor = Monitor(model)
        >>> compiled = torch.compile(model, backend=monitor.backend("aot_eager"))
        >>> for _ in range(10):
        ...     compiled(torch.randn(32, 4)).square().mean().backward()
        >>> monitor.diagnosis().examples, monitor.diagnosis().sites[0].values
        (320, 320)
        """
        if self._has_mask:
            raise ValueError(
                "a mask cannot be used in compiled code; make the monitor without one (padding counts then), or train "
                "without torch.compile"
            )
        compiler = compiler_of(backend, mode, options)
        if self._compiled is None:
            self._capture.detach()
            self.reset()
            self._compiled = Compiled(self._capture.model, self._wanted, self._capture.examples, self._capture.notes)
        self.attach()
        return self._compiled.backend(compiler, exact=exact, keeps_bare=self._every > 1)

    __enter__ = attach

    def __exit__(self, *_: object) -> None:
        self.detach()

    def reset(self) -> None:
        """Forget what was counted, and begin a new window."""
        self._calls: Counter[Any] = Counter()  # by what is called: a module, or a compiled graph
        self._last: Record | None = None
        self._new_window()

    def _new_window(self) -> None:
        self._counts = Counts()
        self._passes: Counter[Any] = Counter()
        self._capture.examples.clear()
        if self._compiled is not None:
            self._compiled.clear()

    def _observe(self, call: Call) -> Callable[[Tensor], object]:
        return self._counts(call)

    def _wanted(self, called: Any) -> bool:
        if not torch.is_grad_enabled():
            return False
        self._calls[called] += 1
        if (self._calls[called] - 1) % self._every:
            return False
        if self._passes[called] >= self._window:
            self._last = self._counted()
            self._new_window()
        self._passes[called] += 1
        return True

    def _counted(self) -> Record:
        examples = max(self._capture.examples.values(), default=0)
        notes, compiled = [*self._capture.notes], []
        if self._compiled is not None:
            notes += self._compiled.unseen()
            compiled = self._compiled.sums()
        return self._counts.record(examples, notes, ranks_of(self._capture.meshes), compiled)

    def _is_full(self) -> bool:
        return any(passes >= self._window for passes in self._passes.values())

    def diagnosis(self) -> Diagnosis:
        """Diagnose the last full window or, before the first one is full, what has been observed so far.

        If `torch.distributed` is initialised, the counts of all ranks are added up, so all ranks must call this; if one
        does not, the others wait for it. Ranks that share the units or the values of a `DTensor` have the same
        examples, which count once. Sites of the same name are taken for the same site.

        Returns
        -------
        Diagnosis
            The counts of the passes of one window; otherwise like that of `diagnose`.

        Raises
        ------
        ValueError
            No rank has observed a pass yet, or no activation that is known was called.
        """
        parts = _of_all_ranks(self._counted() if self._last is None or self._is_full() else self._last)
        diagnosis = together(parts)
        if not diagnosis.sites:
            if self._passes:
                raise ValueError(nothing_seen(self._capture))
            notes = "".join(f"; {note}" for note in diagnosis.notes)
            raise ValueError(f"no pass was observed yet: {self._wants()}{notes}")
        return diagnosis

    def _wants(self) -> str:
        """What must happen before anything is observed."""
        if self._compiled is None:
            return f"attach the monitor, and run the model with gradients; {IF_COMPILED}"
        return (
            "call what torch.compile(model, backend=monitor.backend(...)) returned, with gradients; the model must be "
            "that of the monitor, call an activation that is known (ReLU, Leaky ReLU and so on), and not be left "
            "uncompiled by PyTorch, as it leaves a forward that calls nn.LSTM"
        )

    def state_dict(self) -> dict[str, Any]:
        """What was counted, for training that is resumed.

        Like `diagnosis`, it must be called on all ranks, and gives the counts of all ranks together. What was counted
        in compiled code is not in it; after `load_state_dict`, a note says so.

        Returns
        -------
        dict
            Numbers, strings and tensors, which `torch.load` reads with ``weights_only=True``.
        """
        mine = by_path(self._capture.examples, self._capture.model)
        counted, last = self._counted(), self._last
        if self._compiled is not None:
            counted, last = Record((), 0, (_NOT_SAVED,)), None
        parts = _of_all_ranks((counted, last, mine))
        return packed(
            window=added(window for window, _, _ in parts),
            last=added(last for _, last, _ in parts if last) if any(last for _, last, _ in parts) else None,
            examples=examples_together((window.ranks, each) for window, _, each in parts),
            calls=by_path(self._calls, self._capture.model),
            passes=by_path(self._passes, self._capture.model),
            orders=self._capture.masking.state() if self._capture.masking else {},
        )

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what another monitor had counted.

        The counts that follow are those of training that was never interrupted. `every` and `window` are those of this
        monitor. If `torch.distributed` is initialised, all ranks load the same state; their number may have changed.

        Parameters
        ----------
        state : Mapping
            What `state_dict` returned.

        Raises
        ------
        TypeError, ValueError
            `state` is something else, or the state of the monitor of another model.
        """
        modules = modules_by_path(self._capture.model)
        state = checked_state(state, [*modules, self._capture.block])
        self.reset()
        self._calls.update({modules[path]: count for path, count in state["calls"].items()})
        self._passes.update({modules[path]: count for path, count in state["passes"].items()})
        if self._capture.masking and state["orders"]:
            self._capture.masking.load(state["orders"])
        first = not _is_distributed() or distributed.get_rank() == 0  # it alone has what all had, which counts once
        if state["last"] is not None:
            self._last = unpacked(state["last"]) if first else Record((), 0, ())
        if first:
            window = unpacked(state["window"])
            self._counts = Counts(window.sites)
            self._capture.notes |= dict.fromkeys(window.notes)
            self._capture.examples.update({modules[path]: count for path, count in state["examples"].items()})

    def scalars(self) -> dict[str, float]:
        """Fractions of units for a logger: of all units, and the dead ones of each site.

        Like `diagnosis`, it must be called on all ranks.

        Returns
        -------
        dict of str to float
            ``"units/dead_fraction"``, and likewise ``one_sided``, ``rare``, ``always_on``, ``dormant`` and ``nan``:
            fractions of all units. ``"units/dead_fraction/NAME"``: the fraction of dead units of the site ``NAME``.

        Raises
        ------
        ValueError
            As for `diagnosis`.
        """
        return scalars_of(self.diagnosis())


def _is_distributed() -> bool:
    return distributed.is_available() and distributed.is_initialized()


def _of_all_ranks(mine: Any) -> list[Any]:
    """What each rank gives; all of them must call this."""
    if not _is_distributed():
        return [mine]
    parts: list[Any] = [None] * distributed.get_world_size()
    distributed.all_gather_object(parts, mine)
    return parts
