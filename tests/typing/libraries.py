"""Arrays of other libraries are accepted. mypy and pyright read this file, and tests/test_signatures.py runs it."""

# pyright: standard

from typing import Any, assert_type

import array_api_strict
import dask.array
import jax
import jax.numpy
import ml_dtypes
import numpy as np
import numpy.typing as npt
import pandas as pd  # pyright: ignore[reportMissingTypeStubs]
import torch
import xarray

from leakyrelu import leaky_relu, leaky_relu_backward, leaky_relu_derivative, leaky_relu_slope_gradient

tensor: torch.Tensor = torch.ones(2)
parameter: torch.nn.Parameter = torch.nn.Parameter(tensor)
device_array: jax.Array = jax.numpy.ones(2)
strict = array_api_strict.asarray([-1.0, 2.0])
lazy: dask.array.Array = dask.array.ones(2)
series: pd.Series = pd.Series([-1.0, 2.0])
frame: pd.DataFrame = pd.DataFrame({"a": series})
labelled: xarray.DataArray = xarray.DataArray([-1.0, 2.0])
dataset: xarray.Dataset = xarray.Dataset({"a": labelled})
brain = np.ones(2, ml_dtypes.bfloat16)
double: npt.NDArray[np.float64] = np.ones(2)


def array(result: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """An array, or `Any`, which the checkers make of a type that they do not know."""
    return result


def x() -> None:
    assert_type(leaky_relu(tensor), Any)
    assert_type(leaky_relu(parameter, 0.1), Any)
    assert_type(leaky_relu(device_array), Any)
    assert_type(leaky_relu(strict), Any)
    assert_type(leaky_relu(lazy, dtype=np.float32), Any)
    assert_type(leaky_relu(series), Any)
    assert_type(leaky_relu(frame), Any)
    assert_type(leaky_relu(labelled), Any)
    assert_type(leaky_relu(dataset), Any)
    assert_type(array(leaky_relu(brain)), npt.NDArray[Any])
    assert_type(leaky_relu(brain[0]), Any)
    assert_type(leaky_relu_derivative(tensor), Any)


def alpha() -> None:
    assert_type(leaky_relu(tensor, tensor), Any)
    assert_type(leaky_relu(tensor, [0.1, 0.2]), Any)
    assert_type(leaky_relu(double, lazy), Any)
    assert_type(leaky_relu(-1.0, series), Any)
    assert_type(leaky_relu(double, brain), npt.NDArray[np.float64])


def grad_and_x() -> None:
    assert_type(leaky_relu_backward(tensor, tensor), Any)
    assert_type(leaky_relu_backward(1.0, tensor, [0.1, 0.2]), Any)
    assert_type(leaky_relu_backward(device_array, device_array), Any)
    assert_type(leaky_relu_backward(lazy, 2.0, dtype=np.float32), Any)
    assert_type(leaky_relu_backward(double, labelled), Any)
    assert_type(leaky_relu_backward(double, double, lazy), Any)
    assert_type(array(leaky_relu_backward(brain, brain)), npt.NDArray[Any])
    assert_type(array(leaky_relu_backward(1.0, brain)), npt.NDArray[Any])


def slope_gradient() -> None:
    assert_type(leaky_relu_slope_gradient(tensor, tensor, axis=(0,)), Any)
    assert_type(leaky_relu_slope_gradient(device_array, 1.0), Any)
    assert_type(leaky_relu_slope_gradient(lazy, lazy, axis=0, keepdims=True), Any)
    assert_type(leaky_relu_slope_gradient(double, labelled), Any)
