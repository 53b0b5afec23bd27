// The short way for everyday calls: a Python float, or NumPy arrays without gaps, go straight to the kernel.

#pragma once

#include "numpy_api.hpp"

namespace leakyrelu {

// The decorator of the functions in functions.py. The function it gives takes the short way where there is one, and
// calls the one it was given wherever there is not.
PyObject* direct(PyObject* module, PyObject* function);

// From here on arrays of this type number are bfloat16.
void set_bfloat16_number(int number);

}  // namespace leakyrelu
