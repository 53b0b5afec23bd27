// The counting of activations, as Python calls it.

#pragma once

#include "numpy_api.hpp"

namespace leakyrelu {

extern const char count_doc[];
PyObject* count(PyObject* module, PyObject* arguments);

}  // namespace leakyrelu
