"""For JAX: Leaky ReLU whose slope is not rounded to 16 bits, and a diagnosis of dead units, whatever the library."""

from leakyrelu._shared.extras import needs

with needs("leakyrelu[jax]", "leakyrelu.jax"):
    import jax as _jax  # noqa: F401

from leakyrelu._backends.jax import leaky_relu
from leakyrelu.jax.diagnosis import diagnose
from leakyrelu.units.diagnosis import Diagnosis
from leakyrelu.units.sites import Site

__all__ = ["Diagnosis", "Site", "diagnose", "leaky_relu"]
