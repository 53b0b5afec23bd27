"""Columns and frames of Dask: each partition is computed as the columns of pandas that it holds."""

from typing import Any

from leakyrelu._backends import pandas

__all__ = ["compute"]


def compute(function: str, values: tuple[Any, ...], alpha: Any) -> Any:
    """Compute one of the three functions, as soon as its result is asked for."""
    operands = [*values, alpha]
    place = next(i for i, each in enumerate(operands) if hasattr(each, "map_partitions"))
    columns = operands.pop(place)
    return columns.map_partitions(_on_partition, *operands, function=function, place=place)


def _on_partition(columns: Any, *others: Any, function: str, place: int) -> Any:
    operands = [*others]
    operands.insert(place, columns)
    return pandas.compute(function, tuple(operands[:-1]), operands[-1])
