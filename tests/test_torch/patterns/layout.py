"""Unusual layouts of the source, which its formatter must leave as they are."""
# fmt: off

import sys
import torch; from torch import nn
from torch.nn import functional as F

from test_torch.patterns.registry import Layers, pattern

ACTS = {"relu": F.relu}
OLD_STRINGS = sys.version_info < (3, 12)  # the parser did not say where in a formatted string a call was


@pattern
class SeveralLines(Layers):
    def forward(self, x):
        x = F.relu(
            self.linear(
                x,  # the input
            ),

            inplace=False,
        )
        return (
            x
            - 2
        ).relu()


@pattern
class ParenthesesThatTheNodeDoesNotCover(Layers):
    def forward(self, x):
        y = (x
             - 2).relu()
        z = ((self.linear(x)) - 1) . relu ( )
        return (-y).relu() + (y if self.training else z).relu() + (y, z)[0].relu() + (lambda v: v)(z).relu()


@pattern
class CommentsBetweenParentheses(Layers):
    def forward(self, x):
        return (F  # the module
                .relu(  # the function ) ( "
                    self.linear(x)  # 'the input
                    )  # the end )
                ).relu(  # again
                )


@pattern
class LineContinuation(Layers):
    def forward(self, x):
        y = F. \
            relu(self.linear(x)) \
            .sub(1) \
            . relu \
            ()
        return y + \
            torch.relu \
            (x)


@pattern
class SeveralOnOneLine(Layers):
    def forward(self, x): a = F.relu(x); b = torch.relu(self.linear(x)); return F.relu(F.relu(a - b) - F.relu(b - a)) + x.relu()


@pattern
class OneLineClassesAndIfs(Layers):
    def forward(self, x):
        if x.sum() > 1e9: return x.relu()
        for _ in range(2): x = F.relu(self.linear(x)); x = x - 1
        return x.relu() if x.sum() > 0 else F.relu(x + 1)


@pattern
class UnicodeBeforeTheCall(Layers):
    def forward(self, größe):
        α = "πλάτος 💡 日本語"; größe = F.relu(self.linear(größe)) * len(α); β = größe.relu() - F.relu(größe - 1)
        return {"ключ 💡": β}["ключ 💡"] + F.relu(-größe)


@pattern(may_be_listed=OLD_STRINGS)
class StringsBesideTheCall(Layers):
    def forward(self, x):
        text = f"{F.relu(x).sum():.3f} {x.relu().max()!r:>20}" "F.relu(x)" + '''
            x.relu()
        '''; y = F.relu(self.linear(x))
        return y * len(text.split()) + F.relu(x); """a string at the end"""


@pattern(may_be_listed=OLD_STRINGS)
class FormattedStringOnSeveralLines(Layers):
    def forward(self, x):
        text = f"""
        {F.relu(x)
           .sum() > 0}
        {self.linear(x).relu().sum() > 0} {'relu'}
        """
        return F.relu(x) * len(text)


@pattern(may_be_listed=True)  # as it is shown with its source, which is to stay
class StringsThatShowTheCall(Layers):
    def forward(self, x):
        text = f"{x.relu().sum()=}, max={F.relu(x).max()} {self.linear(x).relu().max() = }"
        return F.relu(x) * text.count("x.relu().sum()=")


@pattern
class TextAtTheMargin(Layers):
    def forward(self, x):
        """A docstring
whose second line is at the margin, with F.relu(x)."""
# a comment at the margin
        text = """
at the margin: x.relu()
\
"""
        return F.relu(self.linear(x)) * len(text)


@pattern
class Tabs(Layers):
	def forward(self, x):
		if self.training:
			x = F.relu(x)	;	x = x - 1
		return	F.relu(	self.linear(x)	)


class Outer:
    class Inner:
        class Deep(Layers):
                def forward(self, x):
                  if True:
                          x = F.relu(self.linear(x))
                  return x.relu()


@pattern
def deeply_nested_class():
    return Outer.Inner.Deep()


if True:
    if True:
        @pattern
        class IndentedClass(Layers):
            if True:
                def forward(self, x):
                    return F.relu(self.linear(x))
            else:
                def forward(self, x):
                    return torch.relu(x) - 100


@pattern
class DefinedTwice(Layers):
    def forward(self, x):
        return F.relu(x) - 100

    def forward(self, x):
        return F.relu(self.linear(x))


@pattern
class CommentsAndBlankLines(Layers):

    # before the decorator
    @torch.no_grad()

    # between decorator and def

    def forward(self, x):

        # F.relu(

        x = F.relu(self.linear(x))

        return x
        # after the return


@pattern
class FormFeed(Layers):
    pass


    def forward(self, x):
        return F.relu(self.linear(x))



@pattern
class AnnotatedForward(Layers):
    def forward(self, x: "torch.Tensor", act: "F.relu" = F.relu) -> torch.Tensor:
        y: torch.Tensor = F.relu(self.linear(x))
        z: "F.relu(y)" = act(y - 1)
        return z


@pattern
class WalrusAndStars(Layers):
    def forward(self, x):
        if (n := (y := F.relu(self.linear(x))).shape[0]) > 2: y, *rest = F.relu(y - 1), *[r.relu() for r in x]
        return y * n + sum([*map(torch.relu, rest)], start=torch.relu(x[0]))


@pattern
class SlicesAndOperators(Layers):
    def forward(self, x):
        h = self.linear(x)
        return h.relu()[..., :2] @ -F.relu(h[:2, :2]) ** 2 % 7 + (not F.relu(h).any()) - (-F.relu(h[:, :2])).sum() \
            if F.relu(h).sum() > 0 < 1 else h[F.relu(h[:, 0]).long() % 5].relu()[:, :2]


@pattern
class CallOfACall(Layers):
    def forward(self, x):
        return (lambda: F.relu)()(self.linear(x)) + (F.relu or None)(x) + [F.relu][0](x) + (yes := F.relu)(x) + yes(x - 1)


@pattern
class KeywordsNamedRelu(Layers):
    def forward(self, x, relu=None):
        options = dict(relu=F.relu, F=torch.relu)
        return options["relu"](self.linear(x)) + options["F"](x)


@pattern
class NumbersBesideNames(Layers):
    def forward(self, x):
        return(F.relu(self.linear(x)))if(x.sum()>0)else-F.relu(x)
