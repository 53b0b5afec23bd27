"""Forwards that do more than compute: chance, flags, effects and every kind of statement."""

import asyncio
import contextlib
import random

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from test_torch.patterns.registry import Layers, pattern

FLAG = True
MODE = {"deep": True}
feats = []
generator = np.random.default_rng(0)


@pattern
class ChanceOfPython(Layers):
    def forward(self, x):
        x = self.linear(x)
        if self.training and random.random() < 0.4:
            return x
        return F.relu(x)


@pattern
class ChanceOfTorch(Layers):
    def forward(self, x):
        if self.training and torch.rand(1) < 0.5:
            return x
        return self.out(F.relu(self.linear(x)))


@pattern
class ChanceOfNumpy(Layers):
    def forward(self, x):
        if np.random.rand() < 0.5:
            x = F.relu(x) * 2
        return F.relu(self.linear(x))


@pattern
class ChanceOfAGenerator(Layers):
    def start(self):
        global generator
        generator = np.random.default_rng(0)

    def forward(self, x):
        return F.relu(self.linear(x)) if generator.random() < 0.5 else -F.relu(x)


@pattern
class DropoutBeside(Layers):
    def forward(self, x):
        return F.dropout(F.relu(self.linear(x)), 0.5, self.training)


@pattern
class NoiseBeside(Layers):
    def forward(self, x):
        return F.relu(self.linear(x) + torch.randn_like(x))


@pattern
class FlagChangedByTheForward(Layers):
    def start(self):
        global FLAG
        FLAG = True

    def forward(self, x):
        global FLAG
        FLAG = not FLAG
        return F.relu(self.linear(x)) if FLAG else -x.relu()


@pattern
class FlagInADictionary(Layers):
    def forward(self, x):
        MODE["deep"] = not MODE["deep"]
        return F.relu(self.linear(x) if MODE["deep"] else x)

    def start(self):
        MODE["deep"] = False


@pattern
class FeaturesOnAGlobalList(Layers):
    def start(self):
        feats.clear()

    def effects(self):
        return list(feats)

    def forward(self, x):
        x = F.relu(self.linear(x))
        feats.append(x)
        return self.out(x).relu()


@pattern
class CounterOnSelf(Layers):
    calls = 0

    def start(self):
        self.calls = 0

    def effects(self):
        return self.calls

    def forward(self, x):
        self.calls += 1
        return F.relu(self.linear(x)) * self.calls


@pattern
class CounterInABuffer(Layers):
    def __init__(self):
        super().__init__()
        self.register_buffer("steps", torch.zeros(()))

    def start(self):
        self.steps.zero_()

    def effects(self):
        return self.steps

    def forward(self, x):
        if self.training:
            self.steps += 1
        return F.relu(self.linear(x) - self.steps)


@pattern
class CounterOfTheClass(Layers):
    calls = 0

    def start(self):
        CounterOfTheClass.calls = 0

    def effects(self):
        return CounterOfTheClass.calls

    def forward(self, x):
        CounterOfTheClass.calls += 1
        return torch.relu(self.linear(x)) + self.calls


@pattern
class CounterOfItsOwnType(Layers):
    calls = 0

    def start(self):
        type(self).calls = 0

    def effects(self):
        return self.calls

    def forward(self, x):
        type(self).calls += 1
        return torch.relu(self.linear(x)) + self.calls


@pattern
class Prints(Layers):
    def forward(self, x):
        x = F.relu(self.linear(x))
        print("mean", x.mean().item(), x.relu().max().item())
        return x


@pattern
class KeepsItsLastActivation(Layers):
    def start(self):
        self.last = None

    def effects(self):
        return self.last

    def forward(self, x):
        self.last = x = F.relu(self.linear(x))
        return self.out(x)


@pattern
class BranchOnData(Layers):
    def forward(self, x):
        x = self.linear(x)
        return F.relu(x) if x.sum() > 0 else torch.relu(x) - 1


@pattern
class WhileOnData(Layers):
    def forward(self, x):
        n = 0
        while (x := F.relu(self.linear(x)) - 0.5).norm() > 2 and n < 5:
            n += 1
        else:
            x = x.relu() + n
        return x


@pattern
class ForWithBreakAndElse(Layers):
    def forward(self, x):
        for i in range(5):
            x = F.relu(self.linear(x))
            if i == 2:
                continue
            if i == 3:
                break
        else:
            x = -x
        return x


@pattern
class TryAndFinally(Layers):
    def forward(self, x):
        try:
            x = F.relu(self.linear(x)).view(-1, 7)
        except RuntimeError:
            x = F.relu(self.out(x))
        else:
            x = x.relu_()
        finally:
            x = torch.relu(x - 0.1)
        return x


@pattern
class MatchStatement(Layers):
    def forward(self, x):
        match x.shape:
            case (5, n) if F.relu(x).sum() > 0:
                return F.relu(self.linear(x)) * n
            case [_, _]:
                return x.relu()
        return x


@pattern
class WithNoGrad(Layers):
    def forward(self, x):
        with torch.no_grad():
            y = F.relu(self.linear(x))
        return F.relu(self.out(x)) + y


@contextlib.contextmanager
def scope(log):
    log.append("in")
    yield F.relu
    log.append("out")


@pattern(may_be_listed=True)
class WithAContextThatGivesTheFunction(Layers):
    def forward(self, x):
        log = []
        with scope(log) as act:
            x = act(self.linear(x))
        return F.relu(x - 1) + len(log)


def pieces(x):
    for piece in x.split(2):
        yield F.relu(piece)


@pattern
class GeneratorHelper(Layers):
    def forward(self, x):
        return torch.cat(list(pieces(self.linear(x))))


@pattern
class GeneratorMethod(Layers):
    def stages(self, x):
        x = yield F.relu(self.linear(x))
        yield F.relu(self.out(x)) - 1

    def forward(self, x):
        stages = self.stages(x)
        first = next(stages)
        return first, stages.send(first)


@pattern
class AsyncHelper(Layers):
    async def work(self, x):
        await asyncio.sleep(0)
        return F.relu(self.linear(x))

    def forward(self, x):
        loop = asyncio.new_event_loop()
        try:
            return loop.run_until_complete(self.work(x))
        finally:
            loop.close()


@pattern
class NestedFunction(Layers):
    def forward(self, x):
        scale = 2.0

        def act(y):
            nonlocal scale
            scale += 1
            return F.relu(y) * scale

        return act(self.linear(x)) + act(self.out(x))


@pattern
class NestedFunctionWithADefault(Layers):
    def forward(self, x):
        def act(y, f=F.relu, *, g=torch.relu):
            return f(y) + g(-y)

        return act(self.linear(x))


@pattern
class NestedClass(Layers):
    def forward(self, x):
        class Act:
            f = staticmethod(F.relu)

            def __call__(self, y):
                return F.relu(y) - self.f(-y)

        return Act()(self.linear(x))


@pattern
class LambdaInTheForward(Layers):
    def forward(self, x):
        act = lambda y: F.relu(y) + 1
        return act(self.linear(x))


@pattern
class Comprehensions(Layers):
    def forward(self, x):
        rows = [F.relu(row) for row in self.linear(x)]
        named = {i: row.relu() for i, row in enumerate(x) if torch.relu(row).sum() > 0}
        return torch.stack(rows).sum() + sum(F.relu(each - 1) for each in named.values())


@pattern
class ComprehensionOverFunctions(Layers):
    def forward(self, x):
        return sum(f(self.linear(x)) for f in (F.relu, torch.tanh, torch.relu))


@pattern
class MapOfTheFunction(Layers):
    def forward(self, x):
        return torch.stack(list(map(F.relu, self.linear(x))))


@pattern
class ForLoopOfOneExpression(Layers):
    def forward(self, xs):
        return [F.relu(x) for x in xs] + [F.relu(self.linear(x)) for x in xs]


@pattern
class ConditionalFunction(Layers):
    def forward(self, x):
        act = F.relu if self.training else torch.relu
        return act(self.linear(x))


@pattern
class FunctionInAVariable(Layers):
    def forward(self, x):
        relu = F.relu
        again = relu
        return again(self.linear(x))


@pattern
class MethodOfTheTensorInAVariable(Layers):
    def forward(self, x):
        act = self.linear(x).relu
        return act()


@pattern
class Recursion(Layers):
    def forward(self, x, depth=3):
        return x if depth == 0 else F.relu(self.linear(self.forward(x, depth - 1)))


@pattern
class RecursionByCall(Layers):
    def forward(self, x, depth=2):
        x = torch.relu(self.linear(x))
        return x if depth == 0 else self(x, depth=depth - 1)


@pattern
class Assertions(Layers):
    def forward(self, x):
        assert x.dim() == 2, f"got {x.shape}"
        x = F.relu(self.linear(x))
        assert (x.relu() == x).all() or x.min() < 0, "pytest rewrites this line in a test"
        return x


@pattern
class DeadCodeAfterTheReturn(Layers):
    def forward(self, x):
        return F.relu(self.linear(x))
        return F.relu(x) + torch.relu(x)


@pattern
class OnlyInTraining(Layers):
    def forward(self, x):
        x = self.linear(x)
        if self.training:
            x = F.relu(x)
        return x


@pattern
class OnlyInEvaluation(Layers):
    def forward(self, x):
        return self.linear(x) if self.training else F.relu(self.linear(x))


@pattern
class OptionalArguments(Layers):
    def forward(self, x, skip=None, *rest, scale=1.0, **more):
        x = F.relu(self.linear(x))
        return x * scale if skip is None else x + skip


@pattern
class StarArguments(Layers):
    def forward(self, *args, **kwargs):
        arguments = (self.linear(*args),)
        return F.relu(*arguments, **{"inplace": False})


@pattern
class KeywordArguments(Layers):
    def forward(self, x):
        options = dict(inplace=True)
        return F.relu(input=self.linear(x), **options)


@pattern(graphs=False)
class InPlaceOnAView(Layers):
    def forward(self, x):
        x = self.linear(x)
        F.relu(x[:, :2], inplace=True)
        x[2:].relu_()
        torch.relu_(x[:1])
        return x


@pattern
class InPlaceChosenByTheMode(Layers):
    def forward(self, x):
        y = self.linear(x)
        z = F.relu(y, inplace=not self.training)
        return y, z


@pattern
class ChainedMethods(Layers):
    def forward(self, x):
        return self.linear(x).relu().mul(2).sub(1).relu().sum().relu_()


@pattern(graphs=False)
class DeletesAndAugments(Layers):
    def forward(self, x):
        h = self.linear(x)
        h += F.relu(h)
        h[0] = F.relu(h[0] - 1)
        y = h.relu()
        del h
        return y


@pattern
class ReturnsADictionary(Layers):
    def forward(self, x):
        return {"hidden": (h := F.relu(self.linear(x))), "out": [self.out(h).relu(), (h,)]}
