"""What was counted of one site, as numbers that can be added up: over batches, processes and devices."""

from dataclasses import dataclass, replace

from leakyrelu.units.sites import Bools, Floats, Integers, Site, larger

__all__ = ["Sums"]


@dataclass(frozen=True, eq=False)
class Sums:
    """Counts of one site, of some batches; the arrays have one entry per unit."""

    name: str
    operation: str
    flat: bool
    examples: int
    values: int  # per unit
    fired: Integers
    below: Bools
    maximum: Floats | None  # None: not counted
    magnitude: Floats  # the sum of |output|
    threshold: float = 0.0

    @property
    def key(self) -> tuple[object, ...]:
        """Sums with the same key are of the same site, and can be added up."""
        return self.name, self.operation, self.flat, self.threshold, len(self.fired)

    def __add__(self, other: "Sums") -> "Sums":
        return replace(
            self,
            examples=self.examples + other.examples,
            values=self.values + other.values,
            fired=self.fired + other.fired,
            below=self.below | other.below,
            maximum=larger(self.maximum, other.maximum),
            magnitude=self.magnitude + other.magnitude,
        )

    def site(self) -> Site:
        """The site that has these counts. At least one value must have been counted."""
        return Site(
            name=self.name,
            operation=self.operation,
            examples=self.examples,
            values=self.values,
            fired=self.fired,
            below=self.below,
            maximum=None if self.maximum is None else self.maximum - self.threshold,
            mean_output=self.magnitude / self.values,
            flat=self.flat,
        )
