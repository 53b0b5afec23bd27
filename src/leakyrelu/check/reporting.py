"""What came of a check: for people, and for programs."""

from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any, Literal

__all__ = ["CaseState", "Report", "Result"]

CaseState = Literal["passed", "hint", "failed", "reported"]


@dataclass(frozen=True)
class Result:
    """One case: what was called, what came back, and what to make of it.

    Attributes
    ----------
    name, level : str
        Of the case.
    call : str
        As one would type it: ``leaky_relu(-2, alpha=0.1)``.
    got : str
        What came back, or what happened instead: ``stopped after 5 s``.
    expected : str
        What is right.
    why : str
        The reason for that.
    hint : str
        The likely cause, and what to do; empty where there is nothing to say.
    state : str
        "passed"; "hint": passed, with a remark; "failed"; "reported": there is no right or wrong.
    brief : str
        `got` in a word or two, for a table; empty where it is right.
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
    """All cases of a check.

    Attributes
    ----------
    level : str
        "exercise", "array", "ieee" or "derivative"; each contains the ones before.
    cases : tuple of Result
        In the order in which they were asked.
    error : str or None
        Why nothing could be asked: a syntax error and its line, no function of that name, and so on.
    cause : str
        The mistake that explains all that was wrong, or the two or three that do; empty where none was found.
    """

    level: str
    cases: tuple[Result, ...] = ()
    error: str | None = None
    cause: str = ""

    @property
    def passed(self) -> bool:
        """Whether all was asked, and nothing is wrong."""
        return self.error is None and all(case.passed for case in self.cases)

    @property
    def failures(self) -> tuple[Result, ...]:
        """The cases that failed."""
        return tuple(case for case in self.cases if not case.passed)

    def __str__(self) -> str:
        cause = [f"Likely cause: {self.cause}."] if self.cause else []
        return "\n".join([*(str(case) for case in self.cases), *([""] if self.cases else []), self.verdict, *cause])

    @property
    def verdict(self) -> str:
        """One sentence."""
        if self.error is not None:
            return f"Could not be checked: {self.error}."
        states = Counter(case.state for case in self.cases)
        judged = len(self.cases) - states["reported"]
        noted = f", {states['reported']} reported and not judged" if states["reported"] else ""
        if states["failed"]:
            return f"{states['failed']} of {judged} cases failed at level {self.level}{noted}."
        return f"All {judged} cases passed at level {self.level}{noted}."

    def to_dict(self) -> dict[str, Any]:
        """All of it as strings, lists and dictionaries; ``"format"`` changes when the meaning of a key does."""
        return {
            "format": 1,
            "level": self.level,
            "passed": self.passed,
            "error": self.error,
            "cause": self.cause,
            "cases": [asdict(case) | {"passed": case.passed} for case in self.cases],
        }
