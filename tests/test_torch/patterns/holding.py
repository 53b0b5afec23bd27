"""Ways to hold an activation: attributes, containers, classes, defaults."""

import dataclasses
import functools
import types
import weakref
from collections import OrderedDict, defaultdict, deque, namedtuple
from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional as F

from test_torch.patterns.registry import Layers, pattern

Pair = namedtuple("Pair", "act scale")


class Spec(NamedTuple):
    act: nn.Module
    fn: object = F.relu


@dataclasses.dataclass
class Config:
    act: object = F.relu
    cls: type = nn.ReLU
    module: nn.Module = dataclasses.field(default_factory=nn.ReLU)


@dataclasses.dataclass(frozen=True)
class Frozen:
    act: object = F.relu


class Slotted:
    __slots__ = ("act",)

    def __init__(self, act):
        self.act = act


@pattern
class Attribute(Layers):
    def __init__(self):
        super().__init__()
        self.act = nn.ReLU()
        self.fn = F.relu
        self.method = torch.Tensor.relu_

    def forward(self, x):
        return self.method(self.fn(self.act(self.linear(x)) - 1) - 1)


@pattern
class ListedLayersAlsoAdded(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = [nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4), nn.ReLU()]
        for i, layer in enumerate(self.layers):
            self.add_module(f"layer{i}", layer)

    def forward(self, x):
        for layer in self.layers:
            x = layer(x)
        return x


@pattern
class ListedLayersNotAdded(Layers):
    def __init__(self):
        super().__init__()
        self.acts = [nn.ReLU(), nn.ReLU(inplace=True)]

    def forward(self, x):
        return self.acts[1](self.out(self.acts[0](self.linear(x))))


@pattern
class ListOfFunctions(Layers):
    def __init__(self):
        super().__init__()
        self.acts = [F.relu, torch.relu]

    def forward(self, x):
        for act in self.acts:
            x = act(self.linear(x))
        return x


@pattern
class DictionaryOfFunctions(Layers):
    def __init__(self):
        super().__init__()
        self.acts = {"a": F.relu, "b": {"c": [torch.relu]}}

    def forward(self, x):
        return self.acts["b"]["c"][0](self.acts["a"](self.linear(x)) - 1)


@pattern
class TupleOfFunctions(Layers):
    def __init__(self):
        super().__init__()
        self.stages = ((self.linear, F.relu), (self.out, nn.ReLU()))

    def forward(self, x):
        for layer, act in self.stages:
            x = act(layer(x))
        return x


@pattern
class NamedTupleOfFunctions(Layers):
    def __init__(self):
        super().__init__()
        self.pair = Pair(F.relu, 2.0)
        self.spec = Spec(nn.ReLU())

    def forward(self, x):
        return self.spec.fn(self.spec.act(self.pair.act(self.linear(x)) * self.pair.scale - 1) - 1)


@pattern
class OtherContainers(Layers):
    def __init__(self):
        super().__init__()
        self.ordered = OrderedDict(act=nn.ReLU())
        self.queue = deque([F.relu])
        self.default = defaultdict(list, act=[nn.ReLU()])

    def forward(self, x):
        return self.default["act"][0](self.queue[0](self.ordered["act"](self.linear(x)) - 1) - 1)


@pattern(may_be_listed=True)
class SetOfModules(Layers):
    def __init__(self):
        super().__init__()
        self.acts = {nn.ReLU()}
        self.frozen = frozenset([F.relu])

    def forward(self, x):
        x = self.linear(x)
        for act in (*self.acts, *self.frozen):
            x = act(x) - 1
        return x


@pattern(may_be_listed=True)
class SimpleNamespace(Layers):
    def __init__(self):
        super().__init__()
        self.cfg = types.SimpleNamespace(act=F.relu, module=nn.ReLU())

    def forward(self, x):
        return self.cfg.module(self.cfg.act(self.linear(x)) - 1)


@pattern(may_be_listed=True)
class DataclassOfActivations(Layers):
    def __init__(self):
        super().__init__()
        self.config = Config()
        self.frozen = Frozen()

    def forward(self, x):
        x = self.config.act(self.linear(x)) + self.config.cls()(x) + self.config.module(-x)
        return self.frozen.act(x - 1)


@pattern(may_be_listed=True)
class SlottedHolder(Layers):
    def __init__(self):
        super().__init__()
        self.holder = Slotted(nn.ReLU())

    def forward(self, x):
        return self.holder.act(self.linear(x))


@pattern(may_be_listed=True)
class MappingProxy(Layers):
    def __init__(self):
        super().__init__()
        self.acts = types.MappingProxyType({"relu": F.relu})

    def __deepcopy__(self, memo):
        raise TypeError("a mapping proxy cannot be copied")

    def __reduce__(self):
        raise TypeError("a mapping proxy cannot be pickled")

    def forward(self, x):
        return self.acts["relu"](self.linear(x))


@pattern
class Partials(Layers):
    def __init__(self):
        super().__init__()
        self.act = functools.partial(F.relu, inplace=True)
        self.make = functools.partial(nn.ReLU, inplace=True)
        self.apply_to = functools.partial(apply, nn.ReLU())
        self.twice = functools.partial(functools.partial(apply, function=F.relu))

    def forward(self, x):
        x = self.act(self.linear(x))
        return self.make()(x - 1) + self.apply_to(x - 2) + self.twice(x=x - 3)


def apply(function, x):
    return function(x)


@pattern
class Lambdas(Layers):
    def __init__(self):
        super().__init__()
        self.act = lambda x: F.relu(x)
        self.two = [lambda x: F.relu(x), lambda x: x.relu() - 1]
        relu = nn.ReLU()
        self.over_a_cell = lambda x: relu(x)

    def forward(self, x):
        return self.over_a_cell(self.two[1](self.two[0](self.act(self.linear(x)) - 1) - 1))


@pattern
class LambdasOnOneLine(Layers):
    def __init__(self):
        super().__init__()
        self.acts = (lambda x: F.relu(x), lambda x: F.relu(x) - 1, lambda x: -F.relu(x))

    def forward(self, x):
        return sum(act(self.linear(x)) for act in self.acts)


@pattern
class ClosureOnSelf(Layers):
    def __init__(self, act=F.relu):
        super().__init__()

        def activate(x):
            return act(self.linear(x))

        self.activate = activate

    def forward(self, x):
        return self.activate(x) + self.activate(-x)

    def __deepcopy__(self, memo):
        raise TypeError("the closure would still refer to the original")


@pattern
class BoundMethodOnSelf(Layers):
    def __init__(self):
        super().__init__()
        self.act = self._relu

    def _relu(self, x):
        return F.relu(x)

    def forward(self, x):
        return self.act(self.linear(x))


@pattern
class BoundMethodOfAModuleOnSelf(Layers):
    def __init__(self):
        super().__init__()
        self.relu = nn.ReLU()
        self.act = self.relu.forward

    def forward(self, x):
        return self.act(self.linear(x)) + self.relu(x)


@pattern
class ClassAttributeModule(Layers):
    act = nn.ReLU()

    def forward(self, x):
        return self.act(self.linear(x))


@pattern
class ClassAttributeModuleByTheClass(Layers):
    act = nn.ReLU()

    def forward(self, x):
        return ClassAttributeModuleByTheClass.act(self.linear(x)) + type(self).act(x)


@pattern
class ClassAttributeFunction(Layers):
    act = staticmethod(F.relu)
    acts = {"relu": F.relu}
    listed = [torch.relu]

    def forward(self, x):
        return self.listed[0](self.acts["relu"](self.act(self.linear(x)) - 1) - 1)


@pattern
class ClassAttributeClass(Layers):
    act_cls = nn.ReLU

    def forward(self, x):
        return self.act_cls()(self.linear(x))


@pattern
class ClassAttributeInherited(ClassAttributeFunction):
    def forward(self, x):
        return super().forward(self.act(x))


@pattern
class BuiltinAsClassAttribute(Layers):
    act = torch.relu  # a builtin does not bind

    def forward(self, x):
        return self.act(self.linear(x))


@pattern
class DefaultArgument(Layers):
    def forward(self, x, act=F.relu):
        return act(self.linear(x))


@pattern
class DefaultModuleArgument(Layers):
    def forward(self, x, act=nn.ReLU(), *, last=torch.relu, cls=nn.ReLU):
        return last(act(self.linear(x)) - 1) + cls()(-x)


@pattern
class DefaultArgumentOfAHelper(Layers):
    def forward(self, x):
        return activated(self.linear(x)) + self.block(x)

    def block(self, x, *, act=F.relu):
        return act(self.out(x))


def activated(x, act=F.relu, acts=(torch.relu, nn.ReLU())):
    for each in acts:
        x = each(x) - 0.5
    return act(x)


@pattern
class SharedModule(nn.Module):
    def __init__(self):
        super().__init__()
        relu = nn.ReLU()
        self.a = nn.Sequential(nn.Linear(4, 4), relu)
        self.b = nn.Sequential(relu, nn.Linear(4, 4), relu)
        self.same = relu
        self.listed = [relu, self.a[0]]

    def forward(self, x):
        assert self.same is self.a[1] and self.same is self.b[0] and self.listed[0] is self.same
        return self.listed[0](self.b(self.a(x)) - 1)


@pattern
class SharedBlock(nn.Module):
    def __init__(self):
        super().__init__()
        self.block = Attribute()
        self.again = self.block
        self.listed = [self.block]

    def forward(self, x):
        return self.listed[0](self.again(self.block(x)))


@pattern
class ModuleContainers(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(4, 4), nn.ReLU(), nn.ModuleList([nn.ReLU()])])
        self.named = nn.ModuleDict({"relu": nn.ReLU(), "tanh": nn.Tanh()})

    def forward(self, x):
        for layer in self.layers[:2]:
            x = layer(x)
        for layer in self.layers[2]:
            x = layer(x - 1)
        return self.named["relu"](x - 1)


@pattern
class Children(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(4, 4), nn.ReLU()
        self.c = nn.Sequential(nn.Linear(4, 4), nn.ReLU())

    def forward(self, x):
        for child in self.children():
            x = child(x)
        for name, child in self.c.named_children():
            x = child(x) if name == "0" else self._modules["b"](x)
        return getattr(self, "b")(x)


class Chain(nn.Sequential):
    def forward(self, x):
        for i, module in enumerate(self):
            x = F.relu(module(x)) - i
        return super().forward(x)


@pattern
def sequential_with_a_forward():
    return Chain(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4))


@pattern
def plain_sequential():
    return nn.Sequential(OrderedDict(fc=nn.Linear(4, 4), relu=nn.ReLU(inplace=True), more=nn.Sequential(nn.ReLU())))


@pattern
class CircularReferences(Layers):
    def __init__(self):
        super().__init__()
        self.acts = [F.relu]
        self.acts.append(self.acts)
        self.table = {"self": [self]}

    def forward(self, x):
        return self.acts[1][1][0](self.table["self"][0].linear(x))


@pattern
class ParentByWeakReference(nn.Module):
    def __init__(self):
        super().__init__()
        self.child = Attribute()
        self.child.parent = weakref.ref(self)

    def __deepcopy__(self, memo):
        raise TypeError("the child would refer to the original")

    def __reduce__(self):
        raise TypeError("a weak reference cannot be pickled")

    def forward(self, x):
        return F.relu(self.child.parent().child(x) - 1)


@pattern
class SameClassOtherConfiguration(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = Configured(F.relu)
        self.b = Configured(torch.tanh)
        self.c = Configured(nn.ReLU())

    def forward(self, x):
        return self.c(self.b(self.a(x)))


class Configured(Layers):
    def __init__(self, act):
        super().__init__()
        self.act = act

    def forward(self, x):
        return self.act(self.linear(x)) + F.relu(self.out(x))


@pattern(may_be_listed=True)
class SubclassOfReLU(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(4, 4)
        self.act = NamedReLU()
        self.shifted = ShiftedReLU()

    def forward(self, x):
        return self.shifted(self.act(self.linear(x)))


class NamedReLU(nn.ReLU):
    pass


class ShiftedReLU(nn.ReLU):
    def forward(self, x):
        return super().forward(x + 1) - 1


@pattern
class ReluInAModuleOfNoChild(Layers):
    """The activation hangs below a list below a plain object below a dictionary."""

    def __init__(self):
        super().__init__()
        self.tree = {"node": [{"leaf": (nn.ReLU(), [F.relu])}]}

    def forward(self, x):
        act, (fn,) = self.tree["node"][0]["leaf"]
        return fn(act(self.linear(x)) - 1)


@pattern
class BlocksNotRegistered(Layers):
    """A whole block in a plain list: its parameters are not those of the model, but its activation runs."""

    def __init__(self):
        super().__init__()
        self.hidden = [Configured(F.relu)]

    def forward(self, x):
        return self.hidden[0](self.linear(x))


@pattern(may_be_listed=True)
class ModuleMadeInTheFirstCall(Layers):
    def __init__(self):
        super().__init__()
        self.act = nn.ReLU()

    def forward(self, x):
        self.other = nn.ReLU() if not hasattr(self, "other") else self.other
        return self.other(self.act(self.linear(x)) - 1)
