"""Classes of all kinds: inheritance, descriptors, metaclasses, decorators and hooks."""

import abc
import dataclasses
import enum
import functools
import types
from typing import Generic, TypeVar

import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations, parametrize

from test_torch.patterns.registry import Layers, pattern

T = TypeVar("T")


# Inheritance


class Base(Layers):
    def forward(self, x):
        return F.relu(self.linear(x))


class Middle(Base):
    def forward(self, x):
        return super().forward(x) - F.relu(self.out(x))


@pattern
class ThreeLevels(Middle):
    def forward(self, x):
        return super().forward(F.relu(x)) + super(Middle, self).forward(x)


@pattern
class SuperWithArguments(Middle):
    def forward(self, x):
        return super(SuperWithArguments, self).forward(x) + super(__class__, self).forward(-x).relu()


@pattern
class BaseByItsName(Base):
    def forward(self, x):
        return Base.forward(self, F.relu(x)) + Layers.__call__.__get__(self, type(self)).__self__.out(x)


@pattern
class OnlyTheBaseCalls(Middle):
    pass


@pattern
class OverriddenMethodOfTheBase(Middle):
    """The forward of the base is never called."""

    def forward(self, x):
        return torch.relu(self.linear(x))


class ReluMixin:
    def activate(self, x):
        return F.relu(x)

    def forward(self, x):
        return self.activate(super().forward(x))


class ScaleMixin:
    def activate(self, x):
        return super().activate(2 * x)


@pattern
class Mixins(ScaleMixin, ReluMixin, Middle):
    pass


class Left(Base):
    def forward(self, x):
        return super().forward(F.relu(x) - 1)


class Right(Base):
    def forward(self, x):
        return super().forward(torch.relu(-x))


@pattern
class Diamond(Left, Right):
    def forward(self, x):
        return super().forward(x) + Right.forward(self, x)


@pattern
class BaseAndDerivedInOneModel(nn.Module):
    def __init__(self):
        super().__init__()
        self.base, self.middle, self.left = Base(), Middle(), Left()

    def forward(self, x):
        return self.left(self.middle(self.base(x)))


@pattern
class ExtendsALayerOfTorch(nn.Linear):
    def __init__(self):
        super().__init__(4, 4)

    def forward(self, input):
        return F.relu(super().forward(input))


@pattern
class ConstructorMadeAgain(Layers):
    """It makes another of its own class, with super() in the constructor."""

    def __init__(self, depth=2):
        super().__init__()
        self.inner = type(self)(depth - 1) if depth else None

    def forward(self, x):
        x = F.relu(self.linear(x))
        return x if self.inner is None else self.inner(x - 1)


@pattern
class MakesItsOwnClassInTheForward(Layers):
    def forward(self, x):
        torch.default_generator.manual_seed(0)
        other = type(self)() if self.training else MakesItsOwnClassInTheForward()
        return F.relu(other.linear(self.linear(x)))


@pattern
class AsksForItsOwnClass(Layers):
    def forward(self, x):
        assert isinstance(self, AsksForItsOwnClass) and isinstance(self, __class__)
        assert type(self).__name__ == "AsksForItsOwnClass", type(self).__name__
        return F.relu(self.linear(x)) + len(self.__class__.__qualname__) + len(self._get_name())


# Names and descriptors


@pattern
class MangledNames(Layers):
    __scale = 2.0

    def __init__(self):
        super().__init__()
        self.__act = nn.ReLU()
        self.__fn = F.relu

    def __activate(self, x):
        return F.relu(x) * self.__scale

    def forward(self, x):
        return self.__fn(self.__act(self.__activate(self.linear(x)) - 1) - 1) + torch.relu(x)


@pattern
class Properties(Layers):
    @property
    def act(self):
        return F.relu

    @property
    def module(self):
        return nn.ReLU(inplace=True)

    @functools.cached_property
    def cached(self):
        return nn.ReLU()

    @property
    def hidden(self):
        return self.x.relu()

    def forward(self, x):
        self.x = self.linear(x)
        return self.module(self.act(x) - 1) + self.cached(x) + self.hidden


@pattern
class PropertyWithASetter(Layers):
    def __init__(self):
        super().__init__()
        self._scale = 1.0

    @property
    def scale(self):
        return F.relu(torch.tensor(self._scale))

    @scale.setter
    def scale(self, value):
        self._scale = value

    def forward(self, x):
        self.scale = -3.0
        return self.linear(x) * self.scale + F.relu(x)


@pattern
class StaticAndClassMethods(Layers):
    @staticmethod
    def static(x, act=F.relu):
        return act(x) - torch.relu(-x)

    @classmethod
    def of_the_class(cls, x):
        return F.relu(cls.static(x))

    def forward(self, x):
        return self.static(self.linear(x)) + self.of_the_class(x) + StaticAndClassMethods.static(-x)


class Rectifying:
    """A descriptor that gives an activation bound to its owner."""

    def __get__(self, instance, owner=None):
        return lambda x: F.relu(x) - 1


@pattern(may_be_listed=True)
class Descriptor(Layers):
    act = Rectifying()

    def forward(self, x):
        return self.act(self.linear(x))


@pattern
class BindsByHand(Layers):
    def stage(self, x):
        return F.relu(self.linear(x))

    def forward(self, x):
        return BindsByHand.stage.__get__(self, BindsByHand)(x) + types.MethodType(BindsByHand.stage, self)(-x)


@pattern
class GetsTheShapeByHand(Layers):
    def forward(self, x):
        n = torch.Tensor.shape.__get__(x)[0]
        return F.relu(self.linear(x)) * n


@pattern
class PartialMethod(Layers):
    def stage(self, x, act):
        return act(self.linear(x))

    rectified = functools.partialmethod(stage, act=F.relu)

    def forward(self, x):
        return self.rectified(x)


@pattern
class Slots(Layers):
    __slots__ = ("scale",)

    def __init__(self):
        super().__init__()
        self.scale = 2

    def forward(self, x):
        return F.relu(self.linear(x)) * self.scale

    def __deepcopy__(self, memo):
        raise TypeError("nn.Module does not copy slots")

    def __reduce_ex__(self, protocol):
        raise TypeError("nn.Module does not pickle slots")


@pattern
class GetattrOverridden(Layers):
    def __getattr__(self, name):
        if name == "act":
            return F.relu
        return super().__getattr__(name)

    def forward(self, x):
        return self.act(self.linear(x)) + F.relu(x)


@pattern
class DelegatesToTheWrapped(nn.Module):
    def __init__(self):
        super().__init__()
        self.wrapped = Middle()

    def __getattr__(self, name):
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(self.wrapped, name)

    def forward(self, x):
        return F.relu(self.out(x)) + self.wrapped(x)


@pattern
class SetattrOverridden(Layers):
    def __setattr__(self, name, value):
        if name in getattr(self, "__dict__", {}).get("locked", ()):
            raise AttributeError(f"{name} is locked")
        super().__setattr__(name, value)

    def forward(self, x):
        return F.relu(self.linear(x))


@pattern
class CallOverridden(Layers):
    def __call__(self, x):
        return super().__call__(F.relu(x)) - 1

    def forward(self, x):
        return self.linear(x).relu()


@pattern
class CallImplOverridden(Layers):
    def _call_impl(self, *args, **kwargs):
        return F.relu(super()._call_impl(*args, **kwargs))

    def forward(self, x):
        return self.linear(x).relu()


@pattern
class OtherSpecialMethods(Layers):
    def __len__(self):
        return 2

    def __getitem__(self, i):
        return [self.linear, self.out][i]

    def __iter__(self):
        return (lambda x, layer=layer: F.relu(layer(x)) for layer in (self.linear, self.out))

    def __matmul__(self, x):
        return F.relu(x)

    def __eq__(self, other):
        return NotImplemented

    __hash__ = nn.Module.__hash__

    def forward(self, x):
        for stage in self:
            x = stage(x)
        return self @ self[1](x) * len(self)


@pattern
class ForwardOnTheInstance(Layers):
    def __init__(self):
        super().__init__()
        self.forward = self.forward_fast

    def forward_fast(self, x):
        return F.relu(self.linear(x))

    def forward(self, x):
        raise AssertionError("it is replaced in the constructor")

    def __deepcopy__(self, memo):
        raise TypeError("the method would be bound to the original")


@pattern
class ForwardIsAnotherMethod(Layers):
    def _run(self, x):
        return F.relu(self.linear(x))

    forward = _run
    again = forward

    def both(self, x):
        return self.again(x)


@pattern
class LambdaAsForward(Layers):
    forward = lambda self, x: F.relu(self.linear(x))


def patched_forward(self, x):
    return F.relu(self.linear(x)) - 1


@pattern
class ForwardPatchedFromOutside(Layers):
    pass


ForwardPatchedFromOutside.forward = patched_forward


@pattern
def forward_bound_to_the_instance():
    model = Layers()
    model.forward = types.MethodType(patched_forward, model)
    return model


@pattern
def forward_that_is_a_closure_on_the_instance():
    model = Base()
    original = model.forward
    model.forward = lambda x: F.relu(original(x) - 1)
    return model


# Metaclasses and the like


class Registering(Layers):
    registry = []

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        assert cls.__name__ not in Registering.registry, "a class of this name is registered"
        Registering.registry.append(cls.__name__)


@pattern(may_be_listed=True)
class RegisteredOnce(Registering):
    def forward(self, x):
        return F.relu(self.linear(x)) + len(Registering.registry)


class WithArguments(Layers):
    def __init_subclass__(cls, *, scale, **kwargs):
        super().__init_subclass__(**kwargs)
        cls.scale = scale


@pattern
class InitSubclassWithAnArgument(WithArguments, scale=3):
    def forward(self, x):
        return F.relu(self.linear(x)) * self.scale


class Meta(type):
    made = []

    def __new__(mcs, name, bases, namespace, **kwargs):
        mcs.made.append(name)
        cls = super().__new__(mcs, name, bases, namespace)
        cls.number = len(name)
        return cls

    def __call__(cls, *args, **kwargs):
        return super().__call__(*args, **kwargs)


@pattern
class WithAMetaclass(Layers, metaclass=Meta):
    def forward(self, x):
        return F.relu(self.linear(x)) * type(self).number


class Abstract(Layers, abc.ABC):
    @abc.abstractmethod
    def activate(self, x): ...

    def forward(self, x):
        return self.activate(F.relu(self.linear(x)))


@pattern
class Concrete(Abstract):
    def activate(self, x):
        return F.relu(x - 1)


@pattern
class GenericModule(Layers, Generic[T]):
    def forward(self, x: T) -> T:
        return F.relu(self.linear(x))


@pattern
def specialised_generic():
    return GenericModule[torch.Tensor]()


@pattern
@dataclasses.dataclass(eq=False)
class DataclassModule(nn.Module):
    width: int = 4
    act: object = F.relu
    module: nn.Module = dataclasses.field(default_factory=nn.ReLU)

    def __new__(cls, *args, **kwargs):
        self = super().__new__(cls)
        nn.Module.__init__(self)
        return self

    def __post_init__(self):
        self.linear = nn.Linear(self.width, self.width)

    def forward(self, x):
        return self.module(self.act(self.linear(x)) - 1) + F.relu(x)


class Kind(enum.Enum):
    RELU = "relu"
    TANH = "tanh"

    def __call__(self, x):
        return F.relu(x) if self is Kind.RELU else torch.tanh(x)


@pattern(may_be_listed=True)
class EnumerationOfActivations(Layers):
    kind = Kind.RELU

    def forward(self, x):
        return self.kind(self.linear(x)) + Kind.TANH(x)


class FinalMeta(type):
    def __new__(mcs, name, bases, namespace):
        if any(isinstance(base, FinalMeta) for base in bases):
            raise TypeError("this class is final")
        return super().__new__(mcs, name, bases, namespace)


@pattern(may_be_listed=True)
class FinalClass(Layers, metaclass=FinalMeta):
    def forward(self, x):
        return F.relu(self.linear(x))


@pattern
def class_made_in_a_function():
    scale = 2.0

    class Local(Layers):
        def forward(self, x):
            return F.relu(self.linear(x)) * scale

    return Local()


@pattern
def class_made_in_a_method_with_super():
    class Outer:
        def make(self):
            class Inner(Base):
                def forward(self, x):
                    return super().forward(F.relu(x)) - 1

            return Inner()

    return Outer().make()


@pattern(may_be_listed=True)
def class_made_by_exec():
    namespace = {"nn": nn, "F": F, "Layers": Layers}
    exec(
        "class Made(Layers):\n    def forward(self, x):\n        return F.relu(self.linear(x))\n",
        namespace,
    )
    return namespace["Made"]()


@pattern
def class_made_by_type():
    return type("Made", (Layers,), {"forward": patched_forward, "act": staticmethod(F.relu)})()


@pattern(may_be_listed=True)
def class_made_by_exec_with_the_name_of_this_file():
    namespace = {"__name__": __name__, "__file__": __file__, "F": F, "Layers": Layers}
    code = compile(
        "class Made(Layers):\n    def forward(self, x):\n        return F.relu(self.linear(x))\n", __file__, "exec"
    )
    exec(code, namespace)
    return namespace["Made"]()


@pattern(may_be_listed=True)
def function_whose_code_was_changed():
    model = type("Made", (Layers,), {"forward": types.FunctionType(original_code.__code__, globals())})()
    type(model).forward.__code__ = patched_forward.__code__.replace(co_firstlineno=1)
    return model


def original_code(self, x):
    return F.relu(self.linear(x))


# Decorators


def wrapped(function):
    @functools.wraps(function)
    def call(self, x):
        return function(self, F.relu(x)) - 1

    return call


def not_wrapped(function):
    def call(*args, **kwargs):
        return function(*args, **kwargs).relu() - 1

    return call


def with_arguments(scale, act=F.relu):
    def decorate(function):
        @functools.wraps(function)
        def call(*args):
            return act(function(*args)) * scale

        return call

    return decorate


class ClassDecorator:
    def __init__(self, function):
        functools.update_wrapper(self, function)
        self.function = function
        self.calls = 0

    def __get__(self, instance, owner=None):
        return self if instance is None else types.MethodType(self, instance)

    def __call__(self, *args):
        self.calls += 1
        return self.function(*args)


@pattern
class Wrapped(Layers):
    @wrapped
    def forward(self, x):
        return F.relu(self.linear(x))


@pattern
class NotWrapped(Layers):
    @not_wrapped
    def forward(self, x):
        return F.relu(self.linear(x))


@pattern
class DecoratedTwiceOnSeveralLines(Layers):
    @with_arguments(
        2.0,
        act=F.relu,
    )
    @wrapped
    @not_wrapped
    def forward(
        self,
        x,
    ):
        return F.relu(
            self.linear(x),
        )


@pattern
class DecoratedHelper(Layers):
    @not_wrapped
    def stage(self, x):
        return F.relu(self.linear(x))

    def forward(self, x):
        return self.stage(x) + decorated_helper(x)


@with_arguments(3.0)
@not_wrapped
def decorated_helper(x):
    return F.relu(x - 1)


@pattern(may_be_listed=True)
class DecoratedByAClass(Layers):
    @ClassDecorator
    def forward(self, x):
        return F.relu(self.linear(x))


@pattern
class NoGradDecorator(Layers):
    @torch.no_grad()
    def features(self, x):
        return F.relu(self.linear(x))

    @torch.no_grad
    def more(self, x):
        return torch.relu(self.out(x))

    def forward(self, x):
        return F.relu(self.out(self.features(x))) + self.more(x)


@pattern
class AutocastDecorator(Layers):
    @torch.autocast("cpu", dtype=torch.bfloat16)
    def forward(self, x):
        return F.relu(self.linear(x))


@pattern
class EnableGradDecorator(Layers):
    @torch.enable_grad()
    def forward(self, x):
        return F.relu(self.linear(x))


@pattern
class DecoratorThatHoldsAModule(Layers):
    @with_arguments(2.0, act=nn.ReLU())
    def forward(self, x):
        return self.linear(x)


def add_activation(cls):
    original = cls.forward

    def forward(self, x):
        return F.relu(original(self, x) - 1)

    cls.forward = forward
    return cls


@pattern
@add_activation
class DecoratedClass(Layers):
    def forward(self, x):
        return F.relu(self.linear(x))


# Hooks and parametrizations


def relu_hook(module, args, output):
    return F.relu(output) - 1


def relu_pre_hook(module, args):
    return tuple(torch.relu(arg) for arg in args)


@pattern(may_be_listed=True)
def hooks_that_call_the_function():
    model = Base()
    model.linear.register_forward_hook(relu_hook)
    model.register_forward_pre_hook(relu_pre_hook)
    model.register_forward_hook(relu_hook)
    return model


@pattern(may_be_listed=True)
class HookOfItsOwnMethod(Layers):
    def __init__(self):
        super().__init__()
        self.linear.register_forward_hook(self.hook)
        self.out.register_forward_hook(lambda module, args, output: output.relu())

    def hook(self, module, args, output):
        return F.relu(output)

    def forward(self, x):
        return F.relu(self.out(self.linear(x)) - 1)

    def __deepcopy__(self, memo):
        raise TypeError("the hook would be bound to the original")


@pattern
class HooksOfAModule(Layers):
    def __init__(self):
        super().__init__()
        self.relu = nn.ReLU()
        self.relu.register_forward_pre_hook(shift)
        self.relu.register_forward_hook(scale)

    def forward(self, x):
        return self.relu(self.linear(x))


def shift(module, args):
    return (args[0] - 1,)


def scale(module, args, output):
    return output * 2


@pattern
class BackwardHooks(Layers):
    def __init__(self):
        super().__init__()
        self.relu = nn.ReLU()
        self.relu.register_full_backward_hook(halve)

    def forward(self, x):
        return F.relu(self.out(self.relu(self.linear(x))))


def halve(module, grad_input, grad_output):
    return tuple(gradient / 2 for gradient in grad_input)


class Positive(nn.Module):
    def forward(self, x):
        return F.relu(x)


class Shifted(nn.Module):
    def forward(self, x):
        return x + 1


@pattern
def parametrized_by_a_relu():
    model = Base()
    parametrize.register_parametrization(model.linear, "weight", Positive())
    return model


@pattern
def parametrized_module_with_a_forward():
    model = ExtendsALayerOfTorch()
    parametrize.register_parametrization(model, "weight", Shifted())
    return nn.Sequential(model, nn.ReLU())


@pattern
def spectral_norm():
    model = ExtendsALayerOfTorch()
    return nn.Sequential(parametrizations.spectral_norm(model).eval(), StaysInEvaluation(model))


class StaysInEvaluation(nn.Module):
    """Spectral norm changes its buffers in training; it shall not here."""

    def __init__(self, model):
        super().__init__()
        self.model = model
        model.train = lambda mode=True: model

    def forward(self, x):
        return F.relu(self.model(x))


@pattern
def weight_norm():
    return nn.Sequential(parametrizations.weight_norm(ExtendsALayerOfTorch()), Base())
