"""Ways to name the function that is called, and names that are something else."""

import functools
import importlib
import operator
import random
import torch
import torch.nn as nn
import torch.nn.functional
import torch.nn.functional as F
import torch as th
from torch.nn import *
from torch.nn.functional import relu as r
from torch.nn.functional import relu_ as r_
from torch.nn.functional import *

from test_torch.patterns import elsewhere
from test_torch.patterns.elsewhere import ACT2FN, ACTIVATION, Helper, Inner, build_activation, rectify, rectify_twice
from test_torch.patterns.registry import Layers, pattern

ACTS = {"relu": F.relu, "tanh": torch.tanh}
LAMBDAS = {"relu": lambda x: F.relu(x), "shifted": lambda x: F.relu(x) - 1}
CLASSES = {"relu": nn.ReLU, "tanh": nn.Tanh}
OBJECTS = {"relu": nn.ReLU(), "tanh": nn.Tanh()}
REGISTRY = {"relu": (nn.ReLU, {"inplace": True})}
CHAIN = [torch.tanh, F.relu, [torch.relu, (F.relu,)]]
in_place = functools.partial(F.relu, inplace=True)
shared = nn.ReLU()
act = F.relu


@pattern
class ModuleMadeInTheForward(Layers):
    def forward(self, x):
        return nn.ReLU()(self.linear(x))


@pattern(graphs=False)
class ModuleInPlaceMadeInTheForward(Layers):
    def forward(self, x):
        h = self.linear(x)
        nn.ReLU(inplace=True)(h)
        torch.nn.ReLU(True)(h[0])
        return h


@pattern
class ModuleMadeInTheForwardUnderItsBareName(Layers):
    def forward(self, x):
        relu = ReLU()
        return relu(self.linear(x))


@pattern
class SequentialMadeInTheForward(Layers):
    def forward(self, x):
        return nn.Sequential(self.linear, nn.ReLU(), self.out, nn.ReLU(inplace=True))(x)


@pattern
class ClassInAVariable(Layers):
    def forward(self, x):
        Act = nn.ReLU
        return Act()(self.linear(x))


@pattern
class ClassOnSelf(Layers):
    def __init__(self, act_layer=nn.ReLU):
        super().__init__()
        self.act_layer = act_layer

    def forward(self, x):
        return self.act_layer()(self.linear(x))


@pattern
class HuggingFaceRegistry(Layers):
    def forward(self, x):
        return ACT2FN["relu"](self.linear(x)) + ACT2FN["inplace"](self.out(x))


@pattern
class HuggingFaceRegistryInTheConstructor(Layers):
    def __init__(self, hidden_act="relu"):
        super().__init__()
        self.act = ACT2FN[hidden_act]
        self.activation_fn = ACT2FN["inplace"]

    def forward(self, x):
        return self.activation_fn(self.act(self.linear(x)) - 1)


@pattern
class RegistryByAName(Layers):
    name = "relu"

    def forward(self, x):
        return ACTS[self.name](self.linear(x)) + ACTS.get(self.name)(x)


@pattern
class RegistryWithADefault(Layers):
    def forward(self, x):
        return ACTS.get("unknown", F.relu)(self.linear(x))


@pattern
class RegistryOfLambdas(Layers):
    def forward(self, x):
        return LAMBDAS["relu"](self.linear(x)) + LAMBDAS["shifted"](x)


@pattern
class RegistryOfClasses(Layers):
    def forward(self, x):
        return CLASSES["relu"]()(self.linear(x))


@pattern
class RegistryOfObjects(Layers):
    def forward(self, x):
        return OBJECTS["relu"](self.linear(x))


@pattern
class RegistryOfClassesWithArguments(Layers):
    def forward(self, x):
        cls, kwargs = REGISTRY["relu"]
        return cls(**kwargs)(self.linear(x))


@pattern
class RegistryInTheForward(Layers):
    def forward(self, x):
        return {"relu": F.relu, "tanh": torch.tanh}["relu"](self.linear(x))


@pattern
class NestedListsOfFunctions(Layers):
    def forward(self, x):
        return CHAIN[2][1][0](CHAIN[1](self.linear(x)) + CHAIN[2][0](x))


@pattern
class RegistryGivenToAHelper(Layers):
    def apply_all(self, functions, x):
        for f in functions:
            x = f(x) - 0.1
        return x

    def forward(self, x):
        return self.apply_all(CHAIN[:2], self.linear(x)) + self.apply_all(list(ACTS.values()), x)


@pattern
class GlobalPartial(Layers):
    def forward(self, x):
        h = self.linear(x)
        in_place(h)
        return h


@pattern
class PartialMadeInTheForward(Layers):
    def forward(self, x):
        return functools.partial(F.relu, inplace=True)(self.linear(x))


@pattern
class GlobalModule(Layers):
    def forward(self, x):
        return shared(self.linear(x))


@pattern
class GlobalAlias(Layers):
    def forward(self, x):
        return act(self.linear(x)) + ACTIVATION(x) + elsewhere.ACTIVATION(-x)


@pattern
class GetattrOfFunctional(Layers):
    def forward(self, x):
        return getattr(F, "relu")(self.linear(x)) + getattr(torch, "relu_")(x.clone())


@pattern
class GetattrByAName(Layers):
    def __init__(self, name="ReLU", function="relu"):
        super().__init__()
        self.name, self.function = name, function

    def forward(self, x):
        return getattr(nn, self.name)()(self.linear(x)) + getattr(F, self.function)(x) + getattr(x, self.function)()


@pattern
class GetattrInTheConstructor(Layers):
    def __init__(self, name="ReLU"):
        super().__init__()
        self.act = getattr(nn, name)(inplace=True)
        self.fn = getattr(F, name.lower())

    def forward(self, x):
        return self.fn(self.act(self.linear(x)) - 1)


@pattern(may_be_listed=True)
class Evaluated(Layers):
    def forward(self, x):
        return eval("F.relu")(self.linear(x))


@pattern(may_be_listed=True)
class EvaluatedCall(Layers):
    def forward(self, x):
        return eval("F.relu(y)", {"F": F, "y": self.linear(x)})


@pattern
class ImportedByName(Layers):
    def forward(self, x):
        return importlib.import_module("torch.nn.functional").relu(self.linear(x))


@pattern
class ByVars(Layers):
    def forward(self, x):
        return vars(F)["relu"](self.linear(x)) + F.__dict__["relu"](x)


@pattern
class ByGlobals(Layers):
    def forward(self, x):
        return globals()["act"](self.linear(x))


@pattern(may_be_listed=True)
class Methodcaller(Layers):
    def forward(self, x):
        return operator.methodcaller("relu")(self.linear(x)) + operator.attrgetter("relu")(F)(x)


@pattern
class ImportInTheForward(Layers):
    def forward(self, x):
        import torch.nn.functional as G
        from torch.nn import functional, ReLU as Rectifier
        from torch.nn.functional import relu as q

        return G.relu(self.linear(x)) + functional.relu(x) + q(-x) + Rectifier()(x - 1)


@pattern
class ImportedUnderAnotherName(Layers):
    def forward(self, x):
        return r(self.linear(x)) + r_(x.clone())


@pattern
class StarImport(Layers):
    def forward(self, x):
        return relu(self.linear(x)) + ReLU()(x)


@pattern
class FullNames(Layers):
    def forward(self, x):
        return torch.nn.functional.relu(self.linear(x)) + th.relu(x) + torch.nn.functional.relu_(x - 1)


@pattern
class Operators(Layers):
    def forward(self, x):
        return torch.ops.aten.relu(self.linear(x)) + torch.ops.aten.relu.default(x) + torch.ops.aten.relu_(x - 1)


@pattern
class OperatorInAVariable(Layers):
    def forward(self, x):
        aten = torch.ops.aten
        return aten.relu.default(self.linear(x))


@pattern
class UnboundMethod(Layers):
    def forward(self, x):
        return torch.Tensor.relu(self.linear(x)) + torch.Tensor.relu_(x.clone())


@pattern
class CFunctions(Layers):
    def forward(self, x):
        return torch._C._nn.linear(torch._C._VariableFunctions.relu(self.linear(x)), self.out.weight)


@pattern(may_be_listed=True)
class MethodOfTheModuleObject(Layers):
    def __init__(self):
        super().__init__()
        self.relu = nn.ReLU()

    def forward(self, x):
        return self.relu.forward(self.linear(x)) + nn.ReLU.forward(self.relu, x) + self.relu.__call__(-x)


@pattern
class HelperOfAnotherFile(Layers):
    def forward(self, x):
        return rectify(self.linear(x)) + elsewhere.rectify_twice(x) + rectify_twice(-x)


@pattern
class HelperGivenAsAnArgument(Layers):
    def forward(self, x):
        return torch.stack(list(map(rectify, self.linear(x))))


@pattern(may_be_listed=True)
class HelperObject(Layers):
    def __init__(self):
        super().__init__()
        self.helper = Helper()

    def forward(self, x):
        return self.helper(self.linear(x))


@pattern(may_be_listed=True)
class HelperObjectMadeInTheForward(Layers):
    def forward(self, x):
        return Helper()(self.linear(x))


@pattern
class ModuleOfAnotherFileMadeInTheForward(Layers):
    def forward(self, x):
        return Inner()(self.linear(x))


@pattern
class FactoryCalledInTheForward(Layers):
    def forward(self, x):
        return build_activation("relu")(self.linear(x))


@pattern
class ClosureOfAFactory(Layers):
    def __init__(self):
        super().__init__()
        self.act = make_activation(2.0)

    def forward(self, x):
        return self.act(self.linear(x))


def make_activation(scale, function=F.relu):
    module = nn.ReLU()

    def activation(x):
        return function(x) * scale + module(-x) + F.relu(x - 1)

    return activation


@pattern
class FactoryWithACallback(Layers):
    def forward(self, x):
        return make_activation(3.0)(self.linear(x))


@pattern
class RandomChoiceOfFunctions(Layers):
    def forward(self, x):
        return random.choice([F.relu, torch.relu, r])(self.linear(x))


@functools.lru_cache
def scale_of(n):
    return F.relu(torch.arange(-float(n), n)).sum().item()


@pattern(may_be_listed=True)
class CachedHelper(Layers):
    def __init__(self):
        super().__init__()
        scale_of.cache_clear()

    def start(self):
        scale_of.cache_clear()

    def forward(self, x):
        return F.relu(self.linear(x)) * scale_of(x.shape[1])


@functools.singledispatch
def generic(x):
    raise TypeError


@generic.register(torch.Tensor)
def _(x):
    return F.relu(x)


@pattern(may_be_listed=True)
class SingleDispatch(Layers):
    def forward(self, x):
        return generic(self.linear(x))


# Names that are something else


def my_relu(x):
    return x.clamp(-1, 1)


class Own:
    @staticmethod
    def relu(x):
        return x - 1

    class ReLU(nn.Module):
        def forward(self, x):
            return x * 3


own = Own()


@pattern(relus=False)
class LocalFunctionNamedRelu(Layers):
    def forward(self, x):
        relu = my_relu
        return relu(self.linear(x))


@pattern(relus=False)
class InnerFunctionNamedRelu(Layers):
    def forward(self, x):
        def relu(y):
            return y + 1

        return relu(self.linear(x))


@pattern(relus=False)
class ArgumentNamedF(Layers):
    def forward(self, x, F=own):
        return F.relu(self.linear(x)) + F.ReLU()(x)


@pattern(relus=False)
class MethodNamedRelu(Layers):
    def relu(self, x):
        return torch.tanh(x)

    def forward(self, x):
        return self.relu(self.linear(x)) + own.relu(x)


@pattern(relus=False)
class LayerNamedRelu(Layers):
    def __init__(self):
        super().__init__()
        self.relu = nn.Linear(4, 4)

    def forward(self, x):
        return self.relu(self.linear(x))


@pattern(relus=False)
class ClassNamedReLU(Layers):
    def __init__(self):
        super().__init__()
        self.relu = Own.ReLU()

    def forward(self, x):
        return self.relu(self.linear(x))


class Boxed:
    def __init__(self, x):
        self.x = x

    def relu(self):
        return self.x * 5


@pattern(relus=False)
class ObjectWithAMethodRelu(Layers):
    def forward(self, x):
        return Boxed(self.linear(x)).relu()


@pattern
class ObjectsAndTensorsInOneExpression(Layers):
    def forward(self, x):
        total = 0
        for each in (x, Boxed(self.linear(x)), self.linear(x)):
            total = total + each.relu()
        return total


@pattern
class NameThatIsBoth(Layers):
    def forward(self, x):
        relu = F.relu if x.shape[0] == 5 else my_relu
        x = relu(self.linear(x))
        relu = my_relu
        return relu(x)


@pattern
class ShadowedInAComprehension(Layers):
    def forward(self, x):
        relu = F.relu
        return sum(relu(x) for relu in [my_relu, torch.tanh]) + relu(self.linear(x))


@pattern(relus=False)
class NamedOnlyInText(Layers):
    """F.relu(x), nn.ReLU()."""

    def forward(self, x):
        # x = F.relu(x)
        label = "F.relu(x) and x.relu()"
        return self.linear(x) * len(label)


@pattern(relus=False)
class BuilderUsedOnlyInTheConstructor(Layers):
    def __init__(self):
        super().__init__()
        self.norm = self.build(act=False)

    def build(self, act):
        return nn.Sequential(nn.Linear(4, 4), nn.ReLU()) if act else nn.Sequential(nn.Linear(4, 4))

    def forward(self, x):
        return self.norm(self.linear(x))


@pattern(relus=False)
class AsksForTheClassOnly(Layers):
    def forward(self, x):
        n = sum(isinstance(m, nn.ReLU) for m in self.modules())
        return self.linear(x) * (1 + n)


@pattern
class AsksForTheClassOfAnotherLayer(Layers):
    def forward(self, x):
        for m in (self.linear, nn.ReLU(), self.out):
            if isinstance(m, (nn.Linear, nn.ReLU)):
                x = m(x)
        return x


@pattern
class ComparesTheFunction(Layers):
    def forward(self, x):
        act = F.relu
        y = act(self.linear(x))
        return y if act is F.relu else -y


@pattern
class AsksForTheNameOfTheFunction(Layers):
    def forward(self, x):
        act = F.relu
        return act(self.linear(x)) * (2 if act.__name__ == "relu" else 3)
