// The short way; see direct.hpp.
//
// NumPy's machinery for ufuncs (types, broadcasting, overlap, iteration) takes most of the time of a call on a few
// elements, and it hands a kernel one channel at a time. The cases in this file need none of it. All others, and nearly
// all errors, are left to the Python function.

#include "direct.hpp"

#include "arithmetic.hpp"
#include "loops.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <cmath>
#include <cstring>
#include <string>
#include <utility>

namespace leakyrelu {
namespace {

constexpr double default_alpha = 0.01;

std::atomic<int> bfloat16_type{-1};

// A Reference gives its object back at the end of its scope. None may live across a call that gives up the interpreter's
// lock: while Python ends, a thread that asks for the lock back is unwound (before 3.14), and a destructor would then touch
// an object without the lock.
class Reference {
 public:
  explicit Reference(PyObject* object = nullptr) : object_(object) {}
  Reference(const Reference&) = delete;
  Reference& operator=(const Reference&) = delete;
  ~Reference() { Py_XDECREF(object_); }
  PyObject* get() const { return object_; }
  PyArrayObject* array() const { return reinterpret_cast<PyArrayObject*>(object_); }
  void reset(PyObject* object) { Py_XDECREF(std::exchange(object_, object)); }
  PyObject* release() { return std::exchange(object_, nullptr); }

 private:
  PyObject* object_;
};

struct Function {
  const char* name;
  int inputs;  // with alpha
  Loops Row::*loops;
  PyMethodDef definition;
  std::string documentation;
  PyObject* python;
};

// These are the arguments of a call, which the caller owns. `alpha` and `out` are null where the call does not give them.
struct Call {
  Py_ssize_t numbers;  // 1, or 2 where a gradient comes before x
  PyObject* x[2];      // the gradient, then x; without a gradient both are x
  PyObject* alpha;
  PyObject* out;
};

bool is_array(PyObject* object) { return PyArray_CheckExact(object); }
PyArrayObject* as_array(PyObject* object) { return reinterpret_cast<PyArrayObject*>(object); }

bool has_slope_array(const Call& call) { return call.alpha != nullptr && is_array(call.alpha); }

// The row is null where no kernel takes the type.
const Row* find_row(int number) {
  for (const Row& row : *table) {
    if (number == row.x || (row.x == bfloat16_number && number == bfloat16_type.load(std::memory_order_relaxed))) {
      return &row;
    }
  }
  return nullptr;
}

int result_number(const Row& row) { return row.result == bfloat16_number ? bfloat16_type.load() : row.result; }

// The short way knows no arguments but the numbers, alpha and out. Where a call has others, or too few, the answer is
// false, and the Python function takes them or says what is wrong.
bool read(const Function& function, PyObject* const* arguments, Py_ssize_t positional, PyObject* names, Call& call) {
  const Py_ssize_t numbers = function.inputs - 1;
  if (positional < numbers || positional > function.inputs) {
    return false;
  }
  call = {numbers, {arguments[0], arguments[numbers - 1]}, positional > numbers ? arguments[numbers] : nullptr, nullptr};
  const Py_ssize_t named = names == nullptr ? 0 : PyTuple_Size(names);
  for (Py_ssize_t i = 0; i < named; ++i) {
    PyObject* name = PyTuple_GetItem(names, i);
    if (PyUnicode_CompareWithASCIIString(name, "out") == 0) {
      call.out = arguments[positional + i] == Py_None ? nullptr : arguments[positional + i];
    } else if (PyUnicode_CompareWithASCIIString(name, "alpha") == 0 && call.alpha == nullptr) {
      call.alpha = arguments[positional + i];
    } else {
      return false;
    }
  }
  return true;
}

// A layout says how the elements of an array lie in memory. Its axes are those of more than one element, from the outermost
// in memory to the innermost.
struct Layout {
  bool dense;  // there is no gap between the elements
  int count;
  std::array<int, NPY_MAXDIMS_LEGACY_ITERS> axes;
};

Layout layout(PyArrayObject* array) {
  Layout result{PyArray_NDIM(array) <= NPY_MAXDIMS_LEGACY_ITERS, 0, {}};
  if (!result.dense) {
    return result;
  }
  const npy_intp* strides = PyArray_STRIDES(array);
  for (int axis = 0; axis < PyArray_NDIM(array); ++axis) {
    if (PyArray_DIM(array, axis) != 1) {
      result.axes[static_cast<std::size_t>(result.count++)] = axis;
    }
  }
  std::stable_sort(result.axes.begin(), result.axes.begin() + result.count,
                   [=](int a, int b) { return strides[a] > strides[b]; });
  npy_intp expected = PyArray_ITEMSIZE(array);
  for (int i = result.count; i-- > 0;) {
    const int axis = result.axes[static_cast<std::size_t>(i)];
    result.dense = result.dense && strides[axis] == expected;
    expected *= PyArray_DIM(array, axis);
  }
  return result;
}

// Two arrays lie alike where they have one shape and their elements come in the same order. Strides are compared in
// elements, since the types may differ in width.
bool lies_alike(PyArrayObject* a, PyArrayObject* b) {
  if (PyArray_NDIM(a) != PyArray_NDIM(b)) {
    return false;
  }
  for (int axis = 0; axis < PyArray_NDIM(a); ++axis) {
    const npy_intp size = PyArray_DIM(a, axis);
    if (size != PyArray_DIM(b, axis) ||
        (size != 1 && PyArray_STRIDE(a, axis) * PyArray_ITEMSIZE(b) != PyArray_STRIDE(b, axis) * PyArray_ITEMSIZE(a))) {
      return false;
    }
  }
  return true;
}

// Two arrays are apart where they have no byte in common. Neither may have gaps.
bool apart(PyArrayObject* a, PyArrayObject* b) {
  const char* first = PyArray_BYTES(a);
  const char* second = PyArray_BYTES(b);
  return first + PyArray_NBYTES(a) <= second || second + PyArray_NBYTES(b) <= first;
}

// This is alpha as the kernels take it: one slope, or one for each channel.
struct SlopeArgument {
  alignas(npy_longdouble) char one[sizeof(npy_longdouble)];
  Reference array;
  npy_intp channels = 0;  // 0: one slope
  npy_intp length = 0;
  bool failed() const { return channels > 0 && array.get() == nullptr; }  // NumPy has set an exception
  char* data() { return channels == 0 ? one : PyArray_BYTES(array.array()); }
};

// The Python function refuses a slope that is not finite, and NumPy warns of one that is too large for float32. The answer
// is false for both, so that they do.
bool one_slope(double alpha, int number, SlopeArgument& slope) {
  if (number == NPY_FLOAT) {
    const float value = static_cast<float>(alpha);
    std::memcpy(slope.one, &value, sizeof value);
    return std::isfinite(alpha) && std::isfinite(value);
  }
  if (number == NPY_DOUBLE) {
    std::memcpy(slope.one, &alpha, sizeof alpha);
  } else {
    const npy_longdouble value = alpha;
    std::memcpy(slope.one, &value, sizeof value);
  }
  return std::isfinite(alpha);
}

// The kernels take one slope per channel where alpha varies along neighbouring axes of x only, in the order of memory: those
// are the channels. Along the axes outside of them alpha repeats, and along those inside of them it is constant.
bool slope_per_channel(PyArrayObject* alpha, PyArrayObject* x, const Layout& in, int number, SlopeArgument& slope) {
  const int missing = PyArray_NDIM(x) - PyArray_NDIM(alpha);
  const int given = PyArray_TYPE(alpha);
  if (PyArray_NDIM(alpha) == 0 || missing < 0 || (given != NPY_FLOAT && given != NPY_DOUBLE) || PyArray_SIZE(x) == 0) {
    return false;
  }
  npy_intp outer = 1;
  npy_intp channels = 1;
  npy_intp length = 1;
  int last = -1;
  for (int i = 0; i < in.count; ++i) {
    const int axis = in.axes[static_cast<std::size_t>(i)];
    const npy_intp size = PyArray_DIM(x, axis);
    const npy_intp slopes = axis < missing ? 1 : PyArray_DIM(alpha, axis - missing);
    if (slopes == 1) {
      (channels == 1 ? outer : length) *= size;
    } else if (slopes == size && length == 1 && axis > last) {
      channels *= size;
      last = axis;
    } else {
      return false;
    }
  }
  if (channels != PyArray_SIZE(alpha) || outer * length == 1) {
    return false;
  }
  PyArray_Descr* type = PyArray_DescrFromType(number);
  slope.array.reset(PyArray_FromArray(alpha, type, NPY_ARRAY_CARRAY_RO | NPY_ARRAY_FORCECAST));
  slope.channels = channels;
  slope.length = channels == 1 ? outer : length;
  return true;
}

// The answer is false where x has gaps, or the slopes need the long way.
bool set_slope(const Call& call, double alpha, int number, SlopeArgument& slope) {
  PyArrayObject* x = as_array(call.x[0]);
  if (has_slope_array(call)) {
    const Layout in = layout(x);
    return in.dense && slope_per_channel(as_array(call.alpha), x, in, number, slope);
  }
  // NumPy knows of most arrays that they have no gaps, and then the layout need not be found.
  const bool dense = PyArray_IS_C_CONTIGUOUS(x) || PyArray_IS_F_CONTIGUOUS(x) || layout(x).dense;
  return dense && one_slope(alpha, number, slope);
}

// A kernel goes over all the numbers in one pass, so they have to be of one type and lie alike. An array without axes is
// left to NumPy, which gives a scalar for it.
bool numbers_fit(const Call& call) {
  PyArrayObject* x = as_array(call.x[0]);
  for (Py_ssize_t i = 0; i < call.numbers; ++i) {
    PyArrayObject* array = as_array(call.x[i]);
    if (PyArray_TYPE(array) != PyArray_TYPE(x) || !PyArray_ISBEHAVED_RO(array) || (i > 0 && !lies_alike(array, x))) {
      return false;
    }
  }
  return PyArray_NDIM(x) > 0;
}

// A result may replace the number that it is made of. Any other overlap is left to NumPy, which makes copies.
bool out_fits(const Call& call, int number, const SlopeArgument& slope) {
  PyArrayObject* out = as_array(call.out);
  if (!is_array(call.out) || PyArray_TYPE(out) != number || !PyArray_ISBEHAVED(out) ||
      !lies_alike(out, as_array(call.x[0]))) {
    return false;
  }
  for (Py_ssize_t i = 0; i < call.numbers; ++i) {
    PyArrayObject* array = as_array(call.x[i]);
    const bool in_place = PyArray_DATA(array) == PyArray_DATA(out) && PyArray_ITEMSIZE(array) == PyArray_ITEMSIZE(out);
    if (!in_place && !apart(array, out)) {
      return false;
    }
  }
  return slope.channels == 0 || apart(slope.array.array(), out);
}

PyObject* new_result(const Call& call, int number) {
  return PyArray_NewLikeArray(as_array(call.x[0]), NPY_KEEPORDER, PyArray_DescrFromType(number), 0);
}

// A long loop runs without the interpreter's lock. The answer is false where a floating-point error becomes an exception,
// as numpy.errstate may ask.
bool run(PyUFuncGenericFunction loop, char** data, const npy_intp* dimensions, const npy_intp* steps, const char* name) {
  NPY_BEGIN_THREADS_DEF;
  PyUFunc_clearfperr();
  NPY_BEGIN_THREADS_THRESHOLDED(dimensions[0]);
  loop(data, dimensions, steps, nullptr);
  NPY_END_THREADS;
  const int errors = PyUFunc_getfperr();
  return errors == 0 || PyUFunc_GiveFloatingpointErrors(name, errors) >= 0;
}

// This takes over the reference to the result, and returns it once the result is filled. After an error it returns null.
PyObject* compute(const Function& function, const Row& row, const Call& call, SlopeArgument& slope, PyObject* result) {
  PyArrayObject* x = as_array(call.x[0]);
  char* data[4] = {PyArray_BYTES(x), PyArray_BYTES(as_array(call.x[1]))};
  data[call.numbers] = slope.data();
  data[call.numbers + 1] = PyArray_BYTES(as_array(result));
  npy_intp steps[4] = {PyArray_ITEMSIZE(x), PyArray_ITEMSIZE(x)};
  steps[call.numbers] = 0;
  steps[call.numbers + 1] = PyArray_ITEMSIZE(as_array(result));
  const npy_intp dimensions[3] = {PyArray_SIZE(x), slope.channels, slope.length};
  const Loops& loops = row.*function.loops;
  // The loop may give up the lock, and no Reference may hold an object meanwhile.
  PyObject* const slopes = slope.array.release();
  const bool done = run(slope.channels == 0 ? loops.ufunc : loops.channels, data, dimensions, steps, function.name);
  Py_XDECREF(slopes);
  if (!done) {
    Py_DECREF(result);
    return nullptr;
  }
  return result;
}

PyObject* not_this_way() { return Py_NewRef(Py_NotImplemented); }

PyObject* on_arrays(const Function& function, const Call& call, double alpha) {
  const Row* row = find_row(PyArray_TYPE(as_array(call.x[0])));
  if (row == nullptr || !numbers_fit(call)) {
    return not_this_way();
  }
  SlopeArgument slope;
  if (!set_slope(call, alpha, row->slope, slope)) {
    return not_this_way();
  }
  if (slope.failed()) {
    return nullptr;
  }
  const int number = result_number(*row);
  if (call.out != nullptr && !out_fits(call, number, slope)) {
    return not_this_way();
  }
  PyObject* const result = call.out != nullptr ? Py_NewRef(call.out) : new_result(call, number);
  return result == nullptr ? nullptr : compute(function, *row, call, slope, result);
}

PyObject* on_float(const Function& function, const Call& call, double alpha) {
  const double x = PyFloat_AsDouble(call.x[1]);
  if (function.loops == &Row::derivative) {
    return x >= 0 ? PyLong_FromLong(1) : PyFloat_FromDouble(alpha);
  }
  return x >= 0 ? Py_NewRef(call.x[0]) : PyFloat_FromDouble(alpha * PyFloat_AsDouble(call.x[0]));
}

// The answer is the result, NotImplemented where the call needs the long way, or null with an exception.
PyObject* short_way(const Function& function, PyObject* const* arguments, Py_ssize_t positional, PyObject* names) {
  Call call;
  if (!read(function, arguments, positional, names, call)) {
    return not_this_way();
  }
  double alpha = default_alpha;
  if (call.alpha != nullptr && PyFloat_CheckExact(call.alpha)) {
    alpha = PyFloat_AsDouble(call.alpha);
  } else if (call.alpha != nullptr && !is_array(call.alpha)) {
    return not_this_way();
  }
  if (is_array(call.x[0]) && is_array(call.x[1])) {
    return on_arrays(function, call, alpha);
  }
  const bool floats = PyFloat_CheckExact(call.x[0]) && PyFloat_CheckExact(call.x[1]);
  if (floats && call.out == nullptr && std::isfinite(alpha) && !has_slope_array(call)) {
    return on_float(function, call, alpha);
  }
  return not_this_way();
}

PyObject* long_way(const Function& function, PyObject* const* arguments, Py_ssize_t positional, PyObject* names) {
  PyObject* numbers = PyTuple_New(positional);
  PyObject* keywords = names == nullptr ? nullptr : PyDict_New();
  bool ready = numbers != nullptr && (names == nullptr || keywords != nullptr);
  for (Py_ssize_t i = 0; ready && i < positional; ++i) {
    ready = PyTuple_SetItem(numbers, i, Py_NewRef(arguments[i])) == 0;
  }
  const Py_ssize_t named = names == nullptr ? 0 : PyTuple_Size(names);
  for (Py_ssize_t i = 0; ready && i < named; ++i) {
    ready = PyDict_SetItem(keywords, PyTuple_GetItem(names, i), arguments[positional + i]) == 0;
  }
  PyObject* result = ready ? PyObject_Call(function.python, numbers, keywords) : nullptr;
  Py_XDECREF(numbers);
  Py_XDECREF(keywords);
  return result;
}

extern Function functions[3];

template <int index>
PyObject* call(PyObject*, PyObject* const* arguments, Py_ssize_t positional, PyObject* names) {
  PyObject* result = short_way(functions[index], arguments, positional, names);
  if (result != Py_NotImplemented) {
    return result;
  }
  Py_DECREF(result);
  return long_way(functions[index], arguments, positional, names);
}

template <int index>
Function function(const char* name, int inputs, Loops Row::*loops) {
  const auto method = reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(&call<index>));
  return {name, inputs, loops, {name, method, METH_FASTCALL | METH_KEYWORDS, nullptr}, {}, nullptr};
}

Function functions[3] = {
    function<0>("leaky_relu", 2, &Row::leaky_relu),
    function<1>("leaky_relu_derivative", 2, &Row::derivative),
    function<2>("leaky_relu_backward", 3, &Row::backward),
};

}  // namespace

void set_bfloat16_number(int number) { bfloat16_type = number; }

PyObject* direct(PyObject*, PyObject* python) {
  const Reference name(PyObject_GetAttrString(python, "__name__"));
  const Reference module(PyObject_GetAttrString(python, "__module__"));
  const Reference text(PyObject_GetAttrString(python, "__doc__"));
  if (name.get() == nullptr || module.get() == nullptr || text.get() == nullptr) {
    return nullptr;
  }
  for (Function& function : functions) {
    if (PyUnicode_CompareWithASCIIString(name.get(), function.name) != 0) {
      continue;
    }
    const char* parameters = function.inputs == 2 ? "(x, alpha=0.01, **keywords)" : "(grad, x, alpha=0.01, **keywords)";
    const Reference utf8(PyUnicode_AsUTF8String(text.get()));
    if (utf8.get() == nullptr) {
      return nullptr;
    }
    // Python looks for the signature of a builtin in the first line.
    function.documentation = std::string(function.name) + parameters + "\n--\n\n" + PyBytes_AsString(utf8.get());
    function.definition.ml_doc = function.documentation.c_str();
    function.python = Py_NewRef(python);
    return PyCFunction_NewEx(&function.definition, nullptr, module.get());
  }
  PyErr_Format(PyExc_ValueError, "there is no kernel called %R", name.get());
  return nullptr;
}

}  // namespace leakyrelu
