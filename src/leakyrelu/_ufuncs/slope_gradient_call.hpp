// The gradient with respect to the slope, as Python calls it.

#pragma once

#include "numpy_api.hpp"

namespace leakyrelu {

extern const char slope_gradient_doc[];
PyObject* slope_gradient(PyObject* module, PyObject* arguments);

}  // namespace leakyrelu
