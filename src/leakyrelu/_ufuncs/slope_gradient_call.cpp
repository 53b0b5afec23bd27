// The gradient with respect to the slope, as Python calls it.

#include "slope_gradient_call.hpp"

#include "arithmetic.hpp"
#include "loops.hpp"

#include <cstddef>

namespace leakyrelu {

extern const char slope_gradient_doc[] =
    R"(Write the sums of grad * x where x < 0 (or NaN) into an array.

The arguments are
- NumPy's number of the type, -1 for bfloat16;
- the gradient and x: contiguous arrays of that type and of the shape (batches, rows, units, positions);
- the array for the result: contiguous, of that type and of the shape (batches, units).)";

// It checks no array, because the Python function that calls it does.
PyObject* slope_gradient(PyObject*, PyObject* arguments) {
  long number;
  PyArrayObject *grad, *x, *result;
  if (!PyArg_ParseTuple(arguments, "lO!O!O!:slope_gradient", &number, &PyArray_Type, &grad, &PyArray_Type, &x, &PyArray_Type,
                        &result)) {
    return nullptr;
  }
  const auto size = [x](int axis) { return static_cast<std::size_t>(PyArray_DIM(x, axis)); };
  const std::size_t batches = size(0), rows = size(1), units = size(2), positions = size(3);
  const auto bytes = static_cast<std::size_t>(PyArray_ITEMSIZE(x));
  const char* const grads = PyArray_BYTES(grad);
  const char* const xs = PyArray_BYTES(x);
  char* const results = PyArray_BYTES(result);
  for (const Row& row : *table) {
    if (row.x != number || row.slope_gradient == nullptr) {
      continue;
    }
    bool complete = true;
    PyUFunc_clearfperr();
    Py_BEGIN_ALLOW_THREADS;
    for (std::size_t i = 0; complete && i < batches; ++i) {
      const std::size_t start = i * rows * units * positions * bytes;
      complete = row.slope_gradient(grads + start, xs + start, rows, units, positions, results + i * units * bytes);
    }
    Py_END_ALLOW_THREADS;
    if (!complete) {
      return PyErr_NoMemory();
    }
    const int errors = PyUFunc_getfperr();
    if (errors != 0 && PyUFunc_GiveFloatingpointErrors("leaky_relu_slope_gradient", errors) < 0) {
      return nullptr;
    }
    return Py_NewRef(Py_None);
  }
  return PyErr_Format(PyExc_TypeError,
                      "slope_gradient takes NumPy's number of a floating-point type, or -1 for bfloat16, got %ld", number);
}

}  // namespace leakyrelu
