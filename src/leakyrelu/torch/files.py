"""Loads a model by name, and its weights and data from files, for the command line; no code in these files is run."""

import json
import pickle
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from leakyrelu._shared.extras import needs
from leakyrelu._shared.importing import load_object
from leakyrelu._shared.npy import refuse_special
from leakyrelu._shared.progress import Progress, unseen
from leakyrelu._shared.wording import first_line, in_one_line, said, shown
from leakyrelu.torch.arrays import Batches
from leakyrelu.torch.capture import WRAPPERS
from leakyrelu.torch.diagnosis import diagnose
from leakyrelu.torch.removal import Plan, Removal, remove_dead, shrink
from leakyrelu.torch.revival import Revival, revive
from leakyrelu.torch.saving import plan_beside, refuse_smaller, refuse_weights, save_smaller, save_weights
from leakyrelu.units.diagnosis import Diagnosis

_REPLICATED = "module."

__all__ = [
    "Change",
    "diagnose_files",
    "load_plan",
    "load_weights",
    "make_model",
    "remove_files",
    "revive_files",
]


@dataclass(frozen=True)
class Change:
    """What became of a model whose new weights were written; ``print`` shows it, with the diagnoses before and after.

    Attributes
    ----------
    before, after : Diagnosis
        The diagnoses on the same batches.
    done : Revival or Removal
        What was done in between.
    where : str
        What was written.
    """

    before: Diagnosis
    done: Revival | Removal
    after: Diagnosis
    where: str

    def __str__(self) -> str:
        return f"Before:\n{self.before}\n\n{self.done}\n\nAfter, in {self.where}:\n{self.after}"


def diagnose_files(
    spec: str,
    data: Path,
    weights: Path | None = None,
    batch_size: int = 256,
    progress: Progress = unseen,
    *,
    plans: Sequence[Path] = (),
    mask: str | None = None,
) -> Diagnosis:
    """Diagnose the model that `spec` names, on the data of a file.

    Parameters
    ----------
    spec : str
        As for `make_model`.
    data, weights : Path
        The files of the data and of the weights.
    batch_size : int, default 256
        Examples at a time.
    progress : callable, optional
        Called before the first batch and after each one, with the batches done and the batches in all.
    plans : sequence of Path, optional
        The files of plans. The model is shrunk by one after the other before the weights are loaded.
    mask : str, optional
        The name of the array that tells which tokens are real, as for `diagnose`.

    Returns
    -------
    Diagnosis
        What `leakyrelu.torch.diagnose` returns.

    Raises
    ------
    ImportError, TypeError, ValueError, OSError
        What is given cannot be read, or the model does not run on it.
    """
    model, batches = _loaded(spec, data, weights, batch_size, plans, mask)
    with _failures("the model", data, batches):
        return diagnose(model, _followed(batches, progress), mask=batches.mask)


def revive_files(
    spec: str,
    data: Path,
    weights: Path | None,
    batch_size: int,
    revived: Path,
    *,
    plans: Sequence[Path] = (),
    overwrite: bool = False,
) -> Change:
    """Revive the dead units of the model that `spec` names, and write its new weights to the file `revived`.

    The other parameters and the errors are those of `diagnose_files`.

    Raises
    ------
    FileExistsError
        `revived` exists, and `overwrite` is False.
    ValueError
        The outputs would change; nothing is written.
    """
    refuse_weights(revived, overwrite=overwrite)
    model, batches = _loaded(spec, data, weights, batch_size, plans)
    with _failures("reviving the units of the model", data, batches):
        revival = revive(model, list(batches))
    save_weights(model, revived, overwrite=overwrite)
    return Change(revival.before, revival, revival.after, str(revived))


def remove_files(
    spec: str,
    data: Path,
    weights: Path | None,
    batch_size: int,
    smaller: Path,
    *,
    plans: Sequence[Path] = (),
    overwrite: bool = False,
) -> Change:
    """Take the dead units out of the model that `spec` names, and write its new weights to the file `smaller`.

    The plan is written beside them, to `plan_beside(smaller)`. If nothing can be removed, both files are written, too:
    the weights are as they were, and the plan keeps all of them. The other parameters and the errors are those of
    `diagnose_files`.

    Raises
    ------
    FileExistsError
        One of the two files exists, and `overwrite` is False.
    ValueError
        The outputs would change; nothing is written.
    """
    refuse_smaller(smaller, overwrite=overwrite)
    model, loaded = _loaded(spec, data, weights, batch_size, plans)
    batches = list(loaded)
    with _failures("the model", data, loaded):
        before = diagnose(model, batches)
    with _failures("removing units of the model", data, loaded):
        removal = remove_dead(model, batches)
        after = diagnose(model, batches)
    save_smaller(model, removal.plan, smaller, overwrite=overwrite)
    plan = f"the plan is in {shown(plan_beside(smaller))}"
    if not removal.removed:
        plan += " and keeps all of the weights, which are as they were"
    return Change(before, removal, after, f"{shown(smaller)} ({plan})")


def _loaded(
    spec: str, data: Path, weights: Path | None, batch_size: int, plans: Sequence[Path], mask: str | None = None
) -> tuple[nn.Module, "Batches"]:
    model = make_model(spec)
    for path in plans:
        plan = load_plan(path)
        try:
            shrink(model, plan)
        except (TypeError, ValueError) as error:
            raise ValueError(f"the model cannot shrink by the plan in {shown(path)}: {error}") from error
    if weights is not None:
        load_weights(model, weights)
    return model, Batches(data, model, batch_size, mask)


@contextmanager
def _failures(what: str, data: Path, batches: "Batches") -> Iterator[None]:
    """Turn what the model raises into an error that says what failed and names the data."""
    try:
        yield
    except (ImportError, OSError, KeyboardInterrupt):
        raise  # these say what is wrong
    except BaseException as error:  # the model is the user's code, and may raise anything: sys.exit(0), for example
        if isinstance(error, TypeError | ValueError) and _is_ours(error):
            raise  # likewise
        raise ValueError(f"{what} failed on {shown(data)} ({batches}): {said(error)}") from error


def _is_ours(error: BaseException) -> bool:
    """Whether this library raised an error, and not the model or what it calls."""
    *_, (frame, _) = traceback.walk_tb(error.__traceback__)
    return str(frame.f_globals.get("__name__")).partition(".")[0] == __name__.partition(".")[0]


def _followed(batches: "Batches", progress: Progress) -> Iterator[Any]:
    for done, batch in enumerate(batches):
        progress(done, len(batches))
        yield batch
    progress(len(batches), len(batches))


def make_model(spec: str) -> nn.Module:
    """Make the model that ``package.module:factory`` names: a function or class to call without arguments, or a model.

    Modules are looked for in the current directory, too.

    Raises
    ------
    ImportError, ValueError, TypeError
        There is no such module or name, or it does not give a model.
    """
    wanted = "the model must be given as PACKAGE.MODULE:FACTORY, such as nets.vision:make_model"
    model: object = load_object(spec, wanted)
    if not isinstance(model, nn.Module) and callable(model):
        try:
            model = model()
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # it is the user's code, and may raise anything
            raise ValueError(
                f"{spec}() failed: {in_one_line(f'{type(error).__name__}: {in_one_line(error)}')}"
            ) from error
    if not isinstance(model, nn.Module):
        raise TypeError(f"{spec} gives {type(model).__name__}, not a torch.nn.Module")
    return model


def load_plan(path: Path) -> Plan:
    """Read a plan that `remove_files` wrote.

    Raises
    ------
    ValueError
        The file holds something else.
    """
    try:
        refuse_special(path)
        return Plan.from_dict(json.loads(path.read_bytes()))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{shown(path)} holds no plan that --remove wrote: {first_line(error)}") from error


def load_weights(model: nn.Module, path: Path) -> None:
    """Load a state dict from a file of `torch.save` or safetensors; a pickle with code in it is refused.

    Raises
    ------
    ValueError
        The file holds something else, or the weights of another model.
    ImportError
        The file is a safetensors file, and safetensors is not installed.
    """
    refuse_special(path)
    state = _safetensors(path) if path.suffix == ".safetensors" else _saved_by_torch(path)
    for key in ("state_dict", "model_state_dict", "model"):
        if isinstance(state, Mapping) and isinstance(state.get(key), Mapping):
            state = state[key]  # a training checkpoint
    if (found := _instead_of_tensors(state)) is not None:
        raise ValueError(f"{shown(path)} holds no state dict, but {found}; save model.state_dict()")
    try:
        model.load_state_dict(_without_wrappers(state, model))
    except Exception as error:  # a model may have a load_state_dict of its own
        beside = plan_beside(path)
        advice = f" (if --remove wrote them, add --plan {shown(beside)})" if beside.is_file() else ""
        raise ValueError(f"the weights in {shown(path)} are not this model's{advice}: {in_one_line(error)}") from error


def _instead_of_tensors(state: object) -> str | None:
    """What is there instead of a state dict, which has tensors by their names; None if it is one."""
    if not isinstance(state, Mapping):
        return f"one {type(state).__name__}"
    wrong = (each for each in state.items() if not isinstance(each[0], str) or not isinstance(each[1], Tensor))
    name, value = next(wrong, (None, None))
    return None if value is None and name is None else f"{type(value).__name__} under {in_one_line(repr(name))[:80]}"


def _safetensors(path: Path) -> Any:
    with needs("safetensors", f"reading {shown(path)}"):
        from safetensors.torch import load_file
    with path.open("rb"):
        pass  # an error here says what is wrong with the path
    try:
        return load_file(path)
    except Exception as error:  # safetensors raises an error class of its own, made in Rust
        raise ValueError(f"{shown(path)} is not a safetensors file: {error}") from error


def _saved_by_torch(path: Path) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ValueError(
            f"{shown(path)} holds more than weights, or is damaged; it was not loaded, as it may hold code: "
            "save model.state_dict() instead"
        ) from error
    except OSError:
        raise
    except Exception as error:  # the unpickler takes any bytes for instructions, so it may raise anything
        raise ValueError(f"{shown(path)} was not written by torch.save ({said(error)})") from error


def _without_wrappers(state: Mapping[str, Any], model: nn.Module) -> Mapping[str, Any]:
    """The same weights under the model's names, if these differ by the names of wrappers alone.

    `DataParallel` and `DistributedDataParallel` put a name before each; `torch.compile`, FSDP and activation
    checkpointing do so for any module within.
    """
    wanted = {_unwrapped(name): name for name in model.state_dict()}
    bare = {_unwrapped(name): value for name, value in state.items()}
    while bare and bare.keys() != wanted.keys() and all(name.startswith(_REPLICATED) for name in bare):
        bare = {name.removeprefix(_REPLICATED): value for name, value in bare.items()}
    same = bare.keys() == wanted.keys() and len(bare) == len(state)
    return {wanted[name]: value for name, value in bare.items()} if same else state


def _unwrapped(name: str) -> str:
    return ".".join(part for part in name.split(".") if part not in WRAPPERS)
