// The short way for everyday calls: a Python float, or NumPy arrays without gaps, go straight to the kernel.

#pragma once

#include "numpy_api.hpp"

namespace leakyrelu {

// The decorator of the functions in functions.py. The function that it returns takes the short way where it can, and
// otherwise calls the decorated function.
PyObject* direct(PyObject* module, PyObject* function);

// From this call on, arrays of this type number are bfloat16.
void set_bfloat16_number(int number);

}  // namespace leakyrelu
