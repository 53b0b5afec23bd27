"""For Keras 3, on JAX, PyTorch and TensorFlow: finds the dead units of a model, also while it trains."""

from leakyrelu.keras.callback import DeadUnits
from leakyrelu.keras.diagnosis import diagnose
from leakyrelu.units.diagnosis import Diagnosis
from leakyrelu.units.sites import Site

__all__ = ["DeadUnits", "Diagnosis", "Site", "diagnose"]
