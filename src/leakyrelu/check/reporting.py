"""The results of a check, for people and for programs."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from html import escape
from typing import Any, Literal

from leakyrelu._shared.html import table

__all__ = ["CaseState", "Report", "Result"]

CaseState = Literal["passed", "hint", "failed", "reported"]


@dataclass(frozen=True)
class Result:
    """One case: what was called, what came back, and what that means; ``print`` shows it in a few lines.

    Attributes
    ----------
    name : str
        The name of the case.
    level : str
        The level that it belongs to.
    call : str
        The call as one would type it: ``leaky_relu(-2, alpha=0.1)``.
    got : str
        What came back, or what happened instead: ``stopped after 5 s``.
    expected : str
        The right answer.
    why : str
        The reason why that is right.
    hint : str
        The likely cause, and what to do; empty if there is nothing to say.
    state : str
        ``"passed"``; ``"hint"``, passed with a remark; ``"failed"``; ``"reported"``, if nothing is right or wrong.
    brief : str
        What came back, in a word or two for a table; empty if it is right.
    """

    name: str
    level: str
    call: str
    got: str
    expected: str
    why: str
    hint: str = ""
    state: CaseState = "passed"
    brief: str = ""

    @property
    def passed(self) -> bool:
        """Whether nothing is wrong."""
        return self.state != "failed"

    def __str__(self) -> str:
        if self.state == "passed":
            return f"passed    {self.call} -> {self.got}"
        lines = [("expected", self.expected), ("why", self.why), ("hint", self.hint)]
        if self.state != "failed":
            lines = [(word, text) for word, text in lines if word != "expected"]
        head = f"{'passed' if self.state == 'hint' else self.state:<8}  {self.call} -> {self.got}"
        return "\n".join([head, *(f"          {word + ':':<9} {text}" for word, text in lines if text)])


@dataclass(frozen=True)
class Report:
    """All cases of a check; ``print`` shows them with a verdict.

    Attributes
    ----------
    level : str
        ``"exercise"``, ``"array"``, ``"ieee"`` or ``"derivative"``; each level contains the ones before.
    cases : tuple of Result
        The cases, in the order in which they were asked.
    error : str or None
        The reason why nothing could be asked: a syntax error and its line, no function of that name, and so on.
    cause : str
        The mistake that explains what was wrong, or two or three mistakes that do; empty if none was found.
    """

    level: str
    cases: tuple[Result, ...] = ()
    error: str | None = None
    cause: str = ""

    @property
    def passed(self) -> bool:
        """Whether all cases were asked, and nothing is wrong."""
        return self.error is None and all(case.passed for case in self.cases)

    @property
    def failures(self) -> tuple[Result, ...]:
        """The cases that failed."""
        return tuple(case for case in self.cases if not case.passed)

    def __str__(self) -> str:
        cause = [f"Likely cause: {self.cause}."] if self.cause else []
        return "\n".join([*(str(case) for case in self.cases), *([""] if self.cases else []), self.verdict, *cause])

    def _repr_html_(self) -> str:
        """The report in a notebook: the verdict, the cause, what failed, and all cases to unfold."""
        cause = f"<p>Likely cause: {escape(self.cause)}.</p>" if self.cause else ""
        failed = _html_table("Failed", self.failures) if self.failures else ""
        cases = f"All {len(self.cases)} cases"
        rest = f"<details>\n<summary>{cases}</summary>\n{_html_table(cases, self.cases)}\n</details>"
        parts = [f"<p><strong>{escape(self.verdict)}</strong></p>", cause, failed, rest if self.cases else ""]
        return "\n".join(["<section>", *filter(None, parts), "</section>"])

    @property
    def verdict(self) -> str:
        """The result in one sentence."""
        if self.error is not None:
            return f"Could not be checked: {self.error}."
        states = Counter(case.state for case in self.cases)
        judged = len(self.cases) - states["reported"]
        noted = f", {states['reported']} reported and not judged" if states["reported"] else ""
        if states["failed"]:
            return f"{states['failed']} of {judged} cases failed at level {self.level}{noted}."
        return f"All {judged} cases passed at level {self.level}{noted}."

    def to_dict(self) -> dict[str, Any]:
        """The report as strings, numbers, lists and dictionaries, for JSON.

        Returns
        -------
        dict
            The keys are ``format``, ``level``, ``passed``, ``error``, ``cause`` and ``cases``. ``format`` is 1; it
            changes when the meaning of a key changes.
        """
        return {
            "format": 1,
            "level": self.level,
            "passed": self.passed,
            "error": self.error,
            "cause": self.cause,
            "cases": [asdict(case) | {"passed": case.passed} for case in self.cases],
        }


def _html_table(caption: str, cases: Iterable[Result]) -> str:
    rows = ((case.call, _word(case), case.got, case.expected, case.why, case.hint) for case in cases)
    return table(caption, ["Call", "Verdict", "Came back", "Right", "Why", "Hint"], rows)


def _word(case: Result) -> str:
    return "passed, with a remark" if case.state == "hint" else case.state
