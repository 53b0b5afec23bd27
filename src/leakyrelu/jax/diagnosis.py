"""Finds the units of a network that are dead on given data, whatever library of JAX's it is written with."""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from leakyrelu._shared.arguments import checked_batches
from leakyrelu._shared.wording import count
from leakyrelu.jax.counts import sums_of
from leakyrelu.jax.flow import Info, Layer
from leakyrelu.jax.interpreter import Interpreter
from leakyrelu.jax.names import names_of
from leakyrelu.units.diagnosis import Diagnosis

if TYPE_CHECKING:
    from leakyrelu.jax.counts import Seen
    from leakyrelu.units.sums import Sums

__all__ = ["diagnose"]


def diagnose(apply: Callable[[Any, Any], Any], params: Any, batches: Iterable[Any]) -> Diagnosis:
    """Find the units of a network that never fire on given data, and say how sure that is.

    ``apply(params, batch)`` is traced once per shape of a batch, and compiled with the counts as its outputs. Each call
    of `jax.nn`'s relu, relu6, leaky_relu, gelu, silu, elu, celu and selu is a site, and so are this library's
    `leaky_relu`, ``clip(x, 0, high)``, ``maximum(x, 0)``, ``where(x > 0, x, 0)``, ``where(x > 0, x, slope * x)`` and
    ``x * (x > 0)`` on the output of a layer. A unit is a channel of a convolution, counted over batch and space, or a
    feature of a dense layer, counted over the batch and all tokens; what counts is the value that enters the
    activation. Nothing is changed: neither the parameters nor the state of a module.

    Parameters
    ----------
    apply : callable
        Runs the network: ``apply(params, batch)``. It must be a function that `jax.jit` can compile, or one that is
        compiled already.
    params : pytree
        The parameters as `apply` takes them, or a module that holds them: the variables of flax linen, a module of flax
        nnx, a module of equinox, or any other tree. What is no array in it stays as it is.
    batches : iterable
        The data. A batch is whatever `apply` takes: an array, or a tuple or dictionary of arrays. The examples lie
        along the first axis of its first array.

    Returns
    -------
    Diagnosis
        It has one `Site` per call of an activation. A site is named after the parameter of the last layer before it,
        such as ``Dense_0.relu``; ``:2`` is appended for the second call, and so on. Where a scan takes another slice of
        the weights in each iteration, each slice has a site, such as ``Dense_0[3].relu``.

    Raises
    ------
    TypeError
        `apply` is no function, but a module, a class or else; or `batches` is one batch; or a batch holds no array.
    ValueError
        `batches` is empty or has no examples, or no activation that is known depends on them.

    See Also
    --------
    leakyrelu.torch.diagnose : the same for PyTorch, with notes on how sure a diagnosis is.

    Notes
    -----
    Calls within `jit`, `vmap`, `checkpoint`, `custom_vjp`, `scan`, `while_loop` and `cond` are counted. What cannot be
    looked into, such as `shard_map`, is in the notes. The outputs of `apply` are not computed, unless the counts need
    them.

    Examples
    --------
    >>> import jax
    >>> import jax.numpy as jnp
    >>> from leakyrelu.jax import diagnose
    >>> def apply(params, x):
    ...     return jax.nn.relu(x @ params["hidden"]["w"] + params["hidden"]["b"])
    >>> params = {"hidden": {"w": jnp.ones((4, 3)), "b": jnp.array([0.0, -100.0, 100.0])}}
    >>> diagnosis = diagnose(apply, params, [jax.random.normal(jax.random.key(0), (100, 4))])
    >>> site = diagnosis.sites[0]
    >>> site.name, site.dead.tolist(), site.always_on.tolist()
    ('hidden.relu', [1], [2])
    """
    _refuse_modules(apply, params)
    return _Run(apply, params).over(checked_batches(batches))


def _refuse_modules(apply: Any, params: Any) -> None:
    wanted = "apply must be a function that is called with params and a batch"
    kind = type(apply).__name__
    if isinstance(apply, type):
        raise TypeError(f"{wanted}, got the class {apply.__name__}")
    if callable(getattr(apply, "init", None)) and callable(getattr(apply, "apply", None)):  # flax linen, haiku
        raise TypeError(
            f"{wanted}, got the {kind} itself; give its method `apply`, and what its method `init` returned"
        )
    if not callable(apply):
        raise TypeError(f"{wanted}, got {kind}")
    if apply is params:
        raise TypeError(
            f"{wanted}, got the same {kind} as for params; give lambda model, batch: model(batch), "
            "or jax.vmap(model)(batch) if the model takes one example"
        )


class _Run:
    """All batches of one diagnosis."""

    def __init__(self, apply: Callable[[Any, Any], Any], params: Any) -> None:
        self._apply = apply
        self._params = _Tree(params, _is_array)
        self._names = names_of(params, self._params.places)
        self._compiled: dict[Any, _Counting] = {}
        self._sums: dict[object, Sums] = {}
        self._notes: dict[str, None] = {}

    def over(self, batches: Iterable[Any]) -> Diagnosis:
        passes = examples = 0
        waiting: list[tuple[_Counting, Any]] = []
        for passes, batch in enumerate(batches, 1):  # noqa: B007  # asked afterwards, whether there was any
            tree, arrays, here = _opened(batch)
            if not here:
                continue
            counting = self._counting(tree, arrays, here)
            waiting.append((counting, counting(self._params.arrays, arrays)))
            examples += here
            if len(waiting) > 1:  # the last one may still be computed while the next batch is loaded
                self._add(*waiting.pop(0))
        for each in waiting:
            self._add(*each)
        if not passes:
            raise ValueError(
                "batches is empty, and nothing was diagnosed; a generator that was used up before is empty, too"
            )
        if not examples:
            raise ValueError("the batches hold no examples, so nothing was diagnosed")
        return self._diagnosis(examples)

    def _diagnosis(self, examples: int) -> Diagnosis:
        ran = [sums for sums in self._sums.values() if sums.values]
        for sums in self._sums.values():
            if not sums.values:
                self._notes[f"{sums.name}: was not run on these batches"] = None
        if not ran:
            notes = "".join(f"; {note}" for note in self._notes)
            raise ValueError(f"apply called no activation that is known (relu, leaky_relu, gelu and so on){notes}")
        return Diagnosis(tuple(sums.site() for sums in ran), examples, tuple(self._notes))

    def _counting(self, tree: "_Tree", arrays: list[Any], examples: int) -> "_Counting":
        key: Any = tree.structure, tuple((array.shape, str(array.dtype)) for array in arrays), repr(tree.others)
        if key not in self._compiled:
            self._compiled[key] = _Counting(self._apply, self._params, tree, arrays, self._names, examples)
        return self._compiled[key]

    def _add(self, counting: "_Counting", counts: Any) -> None:
        self._notes |= counting.notes
        calls: Counter[str] = Counter()
        for site, each in zip(counting.sites, jax.device_get(counts), strict=True):
            for once in sums_of(site, each, counting.examples):
                name = once.name
                calls[name] += 1
                sums = once if calls[name] == 1 else replace(once, name=f"{name}:{calls[name]}")
                before = self._sums.get(sums.key)
                self._sums[sums.key] = before + sums if before else sums


class _Counting:
    """A compiled function that runs on batches of one shape, and returns the counts of each site."""

    def __init__(
        self,
        apply: Callable[[Any, Any], Any],
        params: "_Tree",
        batch: "_Tree",
        arrays: list[Any],
        names: list[str],
        examples: int,
    ) -> None:
        def outputs(weights: list[Any], data: list[Any]) -> list[Any]:
            try:
                result = apply(params.with_arrays(weights), batch.with_arrays(data))
            except Exception as error:
                shapes = ", ".join(str(array.shape) for array in data)
                error.add_note(
                    f"diagnose called apply(params, batch): params was of type {params.kind} and held "
                    f"{count(len(weights), 'array')}; the batch was of type {batch.kind}, with the shapes {shapes}"
                )
                raise
            leaves = jax.tree.leaves(result)
            return [leaf for leaf in leaves if isinstance(leaf, jax.Array)]

        closed = jax.make_jaxpr(outputs)(params.arrays, arrays)

        def function(weights: list[Any], data: list[Any]) -> list[Any]:
            interpreter = Interpreter(examples)
            infos = [Info(array.shape, layer=Layer(name)) for array, name in zip(weights, names, strict=True)]
            infos += [Info(array.shape, is_data=True) for array in data]
            interpreter.run(closed.jaxpr, closed.consts, list(zip([*weights, *data], infos, strict=True)))
            self.sites[:] = interpreter.seen
            self.notes |= interpreter.notes
            return [site.counts for site in interpreter.seen]

        self.examples = examples
        self.sites: list[Seen] = []
        self.notes: dict[str, None] = {}
        self._function = jax.jit(function)

    def __call__(self, weights: list[Any], data: list[Any]) -> Any:
        return self._function(weights, data)


def _opened(batch: Any) -> tuple["_Tree", list[Any], int]:
    """A batch, its arrays, and how many examples it has."""
    tree = _Tree(batch, _is_array_like)
    arrays = [array if _is_array(array) else np.asarray(array) for array in tree.arrays]
    if not arrays:
        raise TypeError(
            f"a batch must be an array, or hold arrays, got {type(batch).__name__}; "
            "convert it, for example with jax.numpy.asarray"
        )
    return tree, arrays, next((array.shape[0] for array in arrays if array.ndim), 1)


class _Tree:
    """A pytree whose arrays can be exchanged; all else in it stays."""

    def __init__(self, tree: Any, is_array: Callable[[Any], bool]) -> None:
        leaves, self.structure = jax.tree.flatten(tree)
        self.kind = type(tree).__name__
        self.places = [i for i, leaf in enumerate(leaves) if is_array(leaf)]
        self.arrays = [leaves[i] for i in self.places]
        self.others = [None if is_array(leaf) else leaf for leaf in leaves]

    def with_arrays(self, arrays: list[Any]) -> Any:
        leaves = list(self.others)
        for place, array in zip(self.places, arrays, strict=True):
            leaves[place] = array
        return jax.tree.unflatten(self.structure, leaves)


def _is_array(leaf: Any) -> bool:
    return isinstance(leaf, jax.Array | np.ndarray | np.generic)


def _is_array_like(leaf: Any) -> bool:
    """Also arrays of other libraries, as a loader of data gives them."""
    return _is_array(leaf) or hasattr(leaf, "__array__")
