"""Runs a jaxpr operation by operation, within `jax.jit`, and counts at each activation that is met."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from typing import Any, TypeAlias

import jax
import numpy as np
from jax import lax
from jax import numpy as jnp
from jax.extend.core import Literal

from leakyrelu._shared.wording import listed
from leakyrelu.jax.counts import Counts, Seen, added, counted, nothing, over_iterations
from leakyrelu.jax.flow import Info, joined, made, sliced, stacked
from leakyrelu.jax.recognition import (
    Activation,
    by_formula,
    by_name,
    inlined,
    is_a_part,
    is_backward,
    is_of_a_norm,
    names_within,
    place,
)
from leakyrelu.units.layout import Part, Units, settled

__all__ = ["Interpreter", "Pair"]

Pair: TypeAlias = tuple[Any, Info]  # a value, and what is known of it
Run: TypeAlias = Callable[[Sequence[Pair]], list[Pair]]

# The operations that only call another jaxpr, and where they keep it. Derivatives are taken before, so a rule of one's
# own for these does not matter here.
_CALLS = {
    "jit": "jaxpr",
    "pjit": "jaxpr",
    "checkpoint": "jaxpr",
    "remat": "jaxpr",
    "remat2": "jaxpr",
    "closed_call": "call_jaxpr",
    "core_call": "call_jaxpr",
    "custom_jvp_call": "call_jaxpr",
    "custom_vjp_call": "call_jaxpr",
    "custom_vjp_call_jaxpr": "fun_jaxpr",
    "custom_vmap_call": "call",
}
_LOOPS = {"scan", "while", "cond"}


class Interpreter:
    """Runs a jaxpr and counts.

    Parameters
    ----------
    examples : int
        How many examples the batch has.

    Attributes
    ----------
    seen : list of Seen
        The sites that were met, in the order of their calls.
    notes : dict
        Its keys are remarks on what could not be counted.
    """

    def __init__(self, examples: int) -> None:
        self.examples = examples
        self.seen: list[Seen] = []
        self.notes: dict[str, None] = {}
        self._layers = 0
        self._is_counting = True

    def run(self, jaxpr: Any, consts: Sequence[Any], arguments: Sequence[Pair]) -> list[Pair]:
        """Run a jaxpr; `consts` are the arrays that it holds."""
        env: dict[Any, Pair] = {}

        def read(var: Any) -> Pair:
            return (var.val, _of_constant(var.val)) if isinstance(var, Literal) else env[var]

        env.update(zip(jaxpr.constvars, [(value, _of_constant(value)) for value in consts], strict=True))
        env.update(zip(jaxpr.invars, arguments, strict=True))
        done = 0
        for i, eqn in enumerate(jaxpr.eqns):
            if i < done:
                continue
            span = inlined(jaxpr.eqns, i) if self._is_counting else None
            if span:
                name, done = span
                self._inlined(name, jaxpr.eqns[i:done], env, read)
                continue
            with self._not_counting() if is_backward(eqn) or is_a_part(eqn) else nullcontext():
                env.update(zip(eqn.outvars, self._step(eqn, [read(var) for var in eqn.invars]), strict=True))
        return [read(var) for var in jaxpr.outvars]

    def _step(self, eqn: Any, operands: list[Pair]) -> list[Pair]:
        name = eqn.primitive.name
        infos = [info for _, info in operands]
        activation = by_name(eqn, infos) if self._is_counting else None
        if activation:
            with self._not_counting():
                results = self._called(eqn, operands)
            if operands[activation.argument][1].is_data:
                self._count(activation, operands[activation.argument], results[0])
            else:
                self._note_constant(activation, eqn)
            return results
        if name in _CALLS and _CALLS[name] in eqn.params:
            return self._called(eqn, operands)
        # Under vmap, a while loop may have a condition per example; those that are done are computed on and on.
        if name in _LOOPS and not (name == "while" and eqn.params["cond_jaxpr"].out_avals[0].shape):
            run: Callable[..., list[Pair]] = getattr(self, f"_{name}")
            return run(eqn, operands)
        values = _computed(eqn, [value for value, _ in operands])
        self._layers += 1
        results = list(zip(values, made(eqn, infos, self._layers), strict=True))
        if self._is_counting:
            self._look_at(eqn, operands, results)
        return results

    def _look_at(self, eqn: Any, operands: list[Pair], results: list[Pair]) -> None:
        """Count an activation that is written as a formula, and note what cannot be looked into."""
        hidden = sorted(names_within(eqn.params))
        if hidden:
            self.notes[f"{listed(hidden)} within {eqn.primitive.name} ({place(eqn)}): not seen"] = None
        activation = by_formula(eqn.primitive.name, [info for _, info in operands])
        if activation is None:
            return
        x = operands[activation.argument]
        if not x[1].is_data or not jnp.issubdtype(x[0].dtype, jnp.floating) or is_of_a_norm(eqn):
            return
        if x[1].layer is None or not x[1].units or x[1].is_reduced:
            what = "max(x, 0) or a like formula"
            why = "x is a mean, a sum or a maximum" if x[1].is_reduced else "x does not come from a layer"
            self.notes[f"{what} ({place(eqn)}) is not counted, as {why}"] = None
            return
        self._count(activation, x, results[0])

    def _inlined(self, name: str, eqns: Sequence[Any], env: dict[Any, Pair], read: Callable[[Any], Pair]) -> None:
        """Run the operations of one activation that was not called as a function of its own."""
        outside = {
            var: env[var]
            for eqn in eqns
            for var in eqn.invars
            if not isinstance(var, Literal) and var in env and env[var][1].is_data
        }
        with self._not_counting():
            for eqn in eqns:
                env.update(zip(eqn.outvars, self._step(eqn, [read(var) for var in eqn.invars]), strict=True))
        output = env[eqns[-1].outvars[0]]
        if len(outside) == 1:
            ((_, x),) = outside.items()
            if x[1].shape == output[1].shape:
                self._count(Activation(name, flat=False), x, output)
                return
        if outside:
            self.notes[f"{name} ({place(eqns[0])}): what enters it is not known, so it is not counted"] = None
        else:
            self._note_constant(Activation(name, flat=False), eqns[0])

    def _note_constant(self, activation: Activation, eqn: Any) -> None:
        operation = activation.operation
        self.notes[f"{operation} ({place(eqn)}) is not counted, as its input does not depend on the batch"] = None

    def _count(self, activation: Activation, x: Pair, output: Pair) -> None:
        value, info = x
        if not jnp.issubdtype(value.dtype, jnp.floating):
            return
        units = _guessed(info.shape, self.examples) if info.units is None else settled(info.units)
        counts, values = counted(value, output[0], units)
        layer = info.layer
        name, loops = (layer.name, layer.loops) if layer else ("", frozenset())
        self.seen.append(Seen(name, activation.operation, activation.flat, values, counts, loops))
        site = f"{name}.{activation.operation}".removeprefix(".")
        if layer and layer.is_before:
            self.notes[f"{site}: [i] is iteration i of a scan, and what enters there is from the iteration before"] = (
                None
            )
        if layer and layer.varies:
            self.notes[f"{site}: the weight changes in a loop; all iterations are counted as one site"] = None

    @contextmanager
    def _not_counting(self) -> Iterator[None]:
        before, self._is_counting = self._is_counting, False
        try:
            yield
        finally:
            self._is_counting = before

    @contextmanager
    def _apart(self) -> Iterator[list[Seen]]:
        """Sites that are met in this block are appended to a list of their own."""
        before, self.seen = self.seen, []
        try:
            yield self.seen
        finally:
            self.seen = before

    def _called(self, eqn: Any, operands: list[Pair]) -> list[Pair]:
        return self._closed(eqn.params[_CALLS[eqn.primitive.name]])(operands)

    def _closed(self, jaxpr: Any, before: Sequence[Pair] = ()) -> Run:
        """A function that runs a jaxpr; `before` are its first arguments."""
        consts = getattr(jaxpr, "consts", ())
        return lambda arguments: self.run(getattr(jaxpr, "jaxpr", jaxpr), consts, [*before, *arguments])

    def _tried(self, run: Run, arguments: Sequence[Pair]) -> tuple[list[Info], list[Seen]]:
        """What a run would give, without values: shapes stand in the counts."""
        infos: list[Info] = []
        sites: list[Seen] = []
        given = [info for _, info in arguments]

        def function(*values: Any) -> Any:
            with self._apart() as seen:
                results = run(list(zip(values, given, strict=True)))
            infos[:], sites[:] = [info for _, info in results], seen
            return [site.counts for site in seen]

        shapes = jax.eval_shape(function, *(value for value, _ in arguments))
        return infos, [site._replace(counts=each) for site, each in zip(sites, shapes, strict=True)]

    def _settled(self, step: Callable[[list[Info]], list[Info]], carry: list[Info]) -> list[Info]:
        """What is known of the values that go from iteration to iteration."""
        for _ in range(4):  # what is known soon stays the same
            after = [joined([before, new]) for before, new in zip(carry, step(carry), strict=True)]
            if [_summary(info) for info in after] == [_summary(info) for info in carry]:
                break
            carry = after
        return [_changing(info) for info in carry]

    def _scan(self, eqn: Any, operands: list[Pair]) -> list[Pair]:
        params = eqn.params
        loop, carried, length = object(), params["num_carry"], params["length"]
        run = self._closed(params["jaxpr"], operands[: params["num_consts"]])
        start = operands[params["num_consts"] : params["num_consts"] + carried]
        each = [(value, sliced(info, loop)) for value, info in operands[params["num_consts"] + carried :]]
        struct: Any = jax.ShapeDtypeStruct
        one = [(struct(info.shape, value.dtype), info) for value, info in each]

        def step(carry: list[Info]) -> list[Info]:
            arguments = [(value, _changing(info)) for (value, _), info in zip(start, carry, strict=True)]
            with self._not_counting():
                return self._tried(run, [*arguments, *one])[0][:carried]

        carry_infos = [_from_before(info, loop) for info in self._settled(step, [info for _, info in start])]
        infos: list[Info] = []
        sites: list[Seen] = []

        def body(carry: Any, slices: Any) -> Any:
            pairs = [*zip(carry, carry_infos, strict=True), *zip(slices, [info for _, info in each], strict=True)]
            with self._apart() as seen:
                results = run(pairs)
            infos[:], sites[:] = [info for _, info in results], seen
            values = [value for value, _ in results]
            return values[:carried], (values[carried:], [site.counts for site in seen])

        carry, (outputs, all_counts) = lax.scan(
            body,
            [value for value, _ in start],
            [value for value, _ in each],
            length=length,
            reverse=params["reverse"],
            unroll=params["unroll"],
        )
        for site, counts in zip(sites, all_counts, strict=True):
            if loop in site.loops:
                self.seen.append(site._replace(counts=counts, lengths=(length, *site.lengths)))
            else:
                self.seen.append(site._replace(counts=over_iterations(counts)))
        known = [*infos[:carried], *(stacked(info, length) for info in infos[carried:])]
        return list(zip([*carry, *outputs], [_changing(info) for info in known], strict=True))

    def _while(self, eqn: Any, operands: list[Pair]) -> list[Pair]:
        params = eqn.params
        of_test, of_body = params["cond_nconsts"], params["body_nconsts"]
        test = self._closed(params["cond_jaxpr"], operands[:of_test])
        run = self._closed(params["body_jaxpr"], operands[of_test : of_test + of_body])
        start = operands[of_test + of_body :]

        def arguments(carry: list[Info]) -> list[Pair]:
            return [(value, _changing(info)) for (value, _), info in zip(start, carry, strict=True)]

        def step(carry: list[Info]) -> list[Info]:
            with self._not_counting():
                return self._tried(run, arguments(carry))[0]

        carry_infos = self._settled(step, [info for _, info in start])
        _, sites = self._tried(run, arguments(carry_infos))

        def goes_on(carry: Any) -> Any:
            with self._not_counting():
                return test(list(zip(carry[0], carry_infos, strict=True)))[0][0]

        def body(carry: Any) -> Any:
            values, before = carry
            with self._apart() as seen:
                results = run(list(zip(values, carry_infos, strict=True)))
            counts = [added(old, site.counts) for old, site in zip(before, seen, strict=True)]
            return [value for value, _ in results], counts

        begin = [value for value, _ in start], [nothing(site.counts) for site in sites]
        values, all_counts = lax.while_loop(goes_on, body, begin)
        self.seen += [site._replace(counts=counts) for site, counts in zip(sites, all_counts, strict=True)]
        return list(zip(values, carry_infos, strict=True))

    def _cond(self, eqn: Any, operands: list[Pair]) -> list[Pair]:
        (index, chosen), *arguments = operands
        runs = [self._closed(jaxpr) for jaxpr in eqn.params["branches"]]
        tried = [self._tried(run, arguments) for run in runs]
        sites = [each for _, seen in tried for each in seen]
        given = [info for _, info in arguments]

        def branch(number: int, run: Run) -> Callable[..., Any]:
            first = sum(len(seen) for _, seen in tried[:number])

            def function(*values: Any) -> Any:
                with self._apart() as seen:
                    results = run(list(zip(values, given, strict=True)))
                counts: list[Counts] = [nothing(site.counts) for site in sites]
                counts[first : first + len(seen)] = [site.counts for site in seen]
                return [value for value, _ in results], counts

            return function

        branches = [branch(number, run) for number, run in enumerate(runs)]
        values, all_counts = lax.switch(index, branches, *(value for value, _ in arguments))
        self.seen += [site._replace(counts=counts) for site, counts in zip(sites, all_counts, strict=True)]
        known = [joined(list(each)) for each in zip(*(infos for infos, _ in tried), strict=True)]
        return [(value, _chosen(info, chosen)) for value, info in zip(values, known, strict=True)]


def _computed(eqn: Any, values: Sequence[Any]) -> Sequence[Any]:
    """The results of an operation."""
    params, subfunctions = eqn.primitive.get_bind_params(eqn.params), ()
    if isinstance(params, tuple):  # in older versions of JAX
        subfunctions, params = params
    with eqn.ctx.manager:
        results = eqn.primitive.bind(*subfunctions, *values, **params)
    return results if eqn.primitive.multiple_results else [results]


def _of_constant(value: Any) -> Info:
    shape = tuple(getattr(value, "shape", ()))
    if isinstance(value, jax.core.Tracer) or getattr(value, "size", 1) != 1:
        return Info(shape)
    is_number = isinstance(value, float | int) or (hasattr(value, "dtype") and jnp.issubdtype(value.dtype, np.number))
    return Info(shape, number=float(np.asarray(value).item().real) if is_number else None)


def _changing(info: Info) -> Info:
    """The same for a value that may differ in each iteration."""
    return Info(
        info.shape,
        is_data=info.is_data,
        units=info.units,
        layer=info.layer,
        is_reduced=info.is_reduced,
        varies=not info.is_data,
    )


def _from_before(info: Info, loop: object) -> Info:
    if info.layer is None or loop not in info.layer.loops:
        return info
    return replace(info, layer=info.layer._replace(is_before=True))


def _chosen(info: Info, chosen: Info) -> Info:
    """A result of a branch depends on the data if the choice of the branch does."""
    is_data = info.is_data or chosen.is_data
    return Info(info.shape, is_data, info.units, info.layer, is_reduced=info.is_reduced, varies=info.varies)


def _summary(info: Info) -> tuple[object, ...]:
    return info.is_data, info.units, info.layer and info.layer.name, info.is_reduced


def _guessed(shape: tuple[int, ...], examples: int) -> Units:
    """Where the units are if only the shape is known: on the last axis."""
    if len(shape) < 2:
        return () if not shape or shape[0] == examples else (Part(0),)  # one number per example
    return (Part(len(shape) - 1),)
