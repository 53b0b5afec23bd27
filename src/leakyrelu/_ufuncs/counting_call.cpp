// The counting of activations, as Python calls it; counts.hpp says what is counted.

#include "counting_call.hpp"

#include "arithmetic.hpp"
#include "loops.hpp"

#include <cstddef>
#include <cstdint>

namespace leakyrelu {
namespace {

template <class T>
T* pointer(unsigned long long address) {
  return reinterpret_cast<T*>(static_cast<std::uintptr_t>(address));
}

}  // namespace

extern const char count_doc[] =
    R"(Add what enters an activation to the counts of its units, and return whether that was done.

The arguments are
- NumPy's number of the type, -1 for bfloat16;
- the address of the values, and how many rows, units and positions there are; contiguous, in this order;
- the address of the indices of the rows that count (int64), or 0, and how many these are;
- the threshold, and the slope below zero;
- the addresses of the counts: fired (int64), below (bool), maximum (float64) and the sum of |output| (float64). The first
  three are not counted where `fired` is 0, and the sum is not where its address is 0.)";

// It checks no address and no size, because the Python function that calls it does.
PyObject* count(PyObject*, PyObject* arguments) {
  long number;
  unsigned long long data, kept, fired, below, maximum, magnitude;
  Py_ssize_t rows, units, positions, kept_rows;
  Activation activation;
  if (!PyArg_ParseTuple(arguments, "lKnnnKnddKKKK:count", &number, &data, &rows, &units, &positions, &kept, &kept_rows,
                        &activation.threshold, &activation.slope, &fired, &below, &maximum, &magnitude)) {
    return nullptr;
  }
  const auto size = [](Py_ssize_t value) { return static_cast<std::size_t>(value); };
  const Values values{pointer<void>(data), size(rows),     size(units), size(positions), pointer<std::int64_t>(kept),
                      size(kept_rows)};
  const Counts counts{pointer<std::int64_t>(fired), pointer<std::uint8_t>(below), pointer<double>(maximum),
                      pointer<double>(magnitude)};
  for (const Row& row : *table) {
    if (row.x == number && row.count != nullptr) {
      bool counted;
      Py_BEGIN_ALLOW_THREADS;
      counted = row.count(values, activation, counts);
      Py_END_ALLOW_THREADS;
      return PyBool_FromLong(counted);
    }
  }
  return PyErr_Format(PyExc_TypeError,
                      "count takes NumPy's number of float16, float32 or float64, or -1 for bfloat16, got %ld", number);
}

}  // namespace leakyrelu
