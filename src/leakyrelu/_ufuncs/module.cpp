// The module: the ufuncs, their docstrings, how their types are resolved, and the choice of an instruction set.

#define LEAKYRELU_IMPORTS_NUMPY
#include <atomic>
#include <cstdlib>
#include <cstring>

#include "counting_call.hpp"
#include "direct.hpp"
#include "loops.hpp"
#include "memory.hpp"
#include "slope_gradient_call.hpp"
#include "thread_pool.hpp"

#ifdef LEAKYRELU_X86
#include <cpuid.h>
#endif

namespace leakyrelu {

// Measured: from 256 KiB on, two threads that are both awake are faster than one. Once the size of the last-level cache is
// known, whatever is larger than it by more than a third is streamed. With a cache of 32 MiB (33.6 MB), stores that were not
// streamed were faster by a tenth at 44 MB of float32 and by a seventh at 40 MB of float16. Streaming was as fast or a fifth
// faster at 48 MB of float32, and faster by a seventh in the backward pass at 48 MB.
MemoryLimits memory_limits = {{std::size_t{1} << 18}, {static_cast<std::size_t>(PY_SSIZE_T_MAX)}};

const Table* table = &baseline::table;

namespace {

constexpr char leaky_relu_doc[] =
    R"(x where x >= 0, alpha * x elsewhere; each product is rounded once.

Called by `leakyrelu.leaky_relu`, which documents it.)";

constexpr char derivative_doc[] =
    R"(1 where x >= 0, alpha elsewhere (at NaN too).

Called by `leakyrelu.leaky_relu_derivative`, which documents it.)";

constexpr char backward_doc[] =
    R"(grad where x >= 0, alpha * grad elsewhere; each product is rounded once.

Called by `leakyrelu.leaky_relu_backward`, which documents it.)";

struct Ufunc {
  const char* name;
  const char* doc;
  int inputs;
  Loops Row::*loops;
  PyObject* object;  // set at import, and kept as long as the process lives, because NumPy keeps it too
};

Ufunc ufuncs[] = {
    {"leaky_relu", leaky_relu_doc, 2, &Row::leaky_relu, nullptr},
    {"leaky_relu_derivative", derivative_doc, 2, &Row::derivative, nullptr},
    {"leaky_relu_backward", backward_doc, 3, &Row::backward, nullptr},
};

const char* instruction_set = "baseline";

// The DType classes of each row's numbers, slope and result. Those of bfloat16 are null until such an array comes.
struct RowTypes {
  std::atomic<PyObject*> x;  // set last of the three
  PyObject* slope;
  PyObject* result;
};
RowTypes row_types[row_count];

// Chooses the best instruction set that this processor has, or the one that LEAKYRELU_INSTRUCTION_SET names.
int choose_instruction_set() {
  const char* wanted = std::getenv("LEAKYRELU_INSTRUCTION_SET");
  if (wanted != nullptr && *wanted == '\0') {
    wanted = nullptr;
  }
  const auto choose = [wanted](const char* name, const Table& candidate, bool supported) {
    if (supported && (wanted == nullptr || std::strcmp(wanted, name) == 0)) {
      instruction_set = name;
      table = &candidate;
      return true;
    }
    return false;
  };
#ifdef LEAKYRELU_X86
  __builtin_cpu_init();
  unsigned eax, ebx, ecx = 0, edx;
  const bool has_f16c = __get_cpuid(1, &eax, &ebx, &ecx, &edx) != 0 && (ecx & bit_F16C) != 0;  // Clang 14 has no name for it
  const bool has_avx2 = has_f16c && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  const bool has_avx512 = has_avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
                          __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl");
  if (choose("avx512", avx512::table, has_avx512) || choose("avx2", avx2::table, has_avx2)) {
    return 0;
  }
#endif
  if (choose("baseline", baseline::table, true)) {
    return 0;
  }
  PyErr_Format(PyExc_ImportError,
               "LEAKYRELU_INSTRUCTION_SET is '%s', which this processor or this build does not have; "
               "unset it to let leakyrelu choose",
               wanted);
  return -1;
}

// Returns a new reference to the DType class of a type number.
PyObject* dtype_class(int number) {
  PyArray_Descr* descr = PyArray_DescrFromType(number);
  if (descr == nullptr) {
    return nullptr;
  }
  PyObject* type = Py_NewRef(reinterpret_cast<PyObject*>(Py_TYPE(reinterpret_cast<PyObject*>(descr))));
  Py_DECREF(descr);
  return type;
}

// Adds the loops for ml_dtypes.bfloat16 if `type` is its DType class. Returns 1 where the loops are there afterwards, 0 for
// another type, and -1 with an exception.
int add_bfloat16(PyObject* type) {
  PyObject* name = PyUnicode_FromString("ml_dtypes");
  PyObject* module = name ? PyImport_GetModule(name) : nullptr;  // never imports it
  Py_XDECREF(name);
  if (module == nullptr) {
    return PyErr_Occurred() ? -1 : 0;
  }
  PyObject* scalar = PyObject_GetAttrString(module, "bfloat16");
  Py_DECREF(module);
  if (scalar == nullptr) {
    PyErr_Clear();  // another thread is importing it
    return 0;
  }
  PyArray_Descr* descr = PyArray_DescrFromTypeObject(scalar);
  Py_DECREF(scalar);
  if (descr == nullptr) {
    return -1;
  }
  const int number = descr->type_num;
  const bool same = reinterpret_cast<PyObject*>(Py_TYPE(reinterpret_cast<PyObject*>(descr))) == type;
  Py_DECREF(descr);
  if (!same) {
    return 0;
  }
  for (int i = 0; i < row_count; ++i) {
    if ((*table)[i].x != bfloat16_number || row_types[i].x != nullptr) {
      continue;
    }
    for (const Ufunc& ufunc : ufuncs) {
      int types[4] = {number, number, number, number};
      types[ufunc.inputs - 1] = (*table)[i].slope;
      if (PyUFunc_RegisterLoopForType(reinterpret_cast<PyUFuncObject*>(ufunc.object), number, ((*table)[i].*ufunc.loops).ufunc, types,
                                      nullptr) < 0) {
        return -1;
      }
    }
    if ((row_types[i].slope = dtype_class((*table)[i].slope)) == nullptr) {
      return -1;
    }
    row_types[i].result = Py_NewRef(type);
    row_types[i].x = Py_NewRef(type);
    set_bfloat16_number(number);
  }
  return 1;
}

const RowTypes* find_row(PyObject* type) {
  for (const RowTypes& row : row_types) {
    if (row.x == type) {
      return &row;
    }
  }
  return nullptr;
}

#ifdef Py_GIL_DISABLED
PyMutex bfloat16_mutex;
#endif

int add_bfloat16_once(PyObject* type) {
#ifdef Py_GIL_DISABLED
  PyMutex_Lock(&bfloat16_mutex);
  const int status = add_bfloat16(type);
  PyMutex_Unlock(&bfloat16_mutex);
  return status;
#else
  return add_bfloat16(type);
#endif
}

// Returns the DType class that decides which loop runs: the one that is asked for (`dtype=`, `signature=`), or else the
// common type of the numbers. The type of alpha decides nothing. The reference is new, or null where there is no such type.
PyObject* deciding_type(const PyUFuncObject* ufunc, PyArray_DTypeMeta* const given[], PyArray_DTypeMeta* const asked[]) {
  if (PyArray_DTypeMeta* wanted = asked[0] ? asked[0] : asked[ufunc->nin]) {
    return Py_NewRef(reinterpret_cast<PyObject*>(wanted));
  }
  // bool is added to the numbers, so that a Python number also gets a type of its own, int64 or float64.
  PyArray_DTypeMeta* numbers[3] = {reinterpret_cast<PyArray_DTypeMeta*>(row_types[0].x.load()), given[0], given[1]};
  PyObject* common = reinterpret_cast<PyObject*>(PyArray_PromoteDTypeSequence(ufunc->nin, numbers));
  PyErr_Clear();
  return common;
}

// Raises a TypeError that names the given types, and returns -1.
int refuse(const PyUFuncObject* ufunc, PyArray_DTypeMeta* const given[], PyArray_DTypeMeta* const asked[]) {
  PyObject* names[2] = {nullptr, nullptr};
  PyArray_DTypeMeta* wanted = asked[0] ? asked[0] : asked[ufunc->nin];
  const int count = wanted ? 1 : ufunc->nin - 1;
  for (int i = 0; i < count; ++i) {
    PyObject* scalar = PyObject_GetAttrString(reinterpret_cast<PyObject*>(wanted ? wanted : given[i]), "type");
    names[i] = scalar ? PyObject_GetAttrString(scalar, "__name__") : nullptr;
    Py_XDECREF(scalar);
  }
  if (!PyErr_Occurred()) {
    constexpr char one[] =
        "%s takes real numbers (bool, integer, float16, bfloat16, float32, float64, longdouble), got %S; "
        "convert them first, for example with x.astype(float)";
    constexpr char two[] =
        "%s takes a gradient and x of real types that have a common one (bool, integer, float16, bfloat16, float32, "
        "float64, longdouble), got %S and %S; convert them first, for example with x.astype(float)";
    PyErr_Format(PyExc_TypeError, count == 1 ? one : two, ufunc->name, names[0], names[1]);
  }
  Py_XDECREF(names[0]);
  Py_XDECREF(names[1]);
  return -1;
}

// NumPy calls this where no loop has exactly the given types. float32 stays float32 with a float64 slope, and an integer
// never becomes float16.
int promote(PyObject* object, PyArray_DTypeMeta* const given[], PyArray_DTypeMeta* const asked[], PyArray_DTypeMeta* promoted[]) {
  const PyUFuncObject* ufunc = reinterpret_cast<PyUFuncObject*>(object);
  if (given[0] == nullptr) {
    PyErr_Format(PyExc_TypeError, "%s takes each number by itself: it cannot reduce or accumulate", ufunc->name);
    return -1;
  }
  PyObject* type = deciding_type(ufunc, given, asked);
  const RowTypes* row = type ? find_row(type) : nullptr;
  if (type != nullptr && row == nullptr) {
    const int added = add_bfloat16_once(type);
    if (added < 0) {
      Py_DECREF(type);
      return -1;
    }
    row = added ? find_row(type) : nullptr;
  }
  Py_XDECREF(type);
  if (row == nullptr) {
    return refuse(ufunc, given, asked);
  }
  const int alpha = ufunc->nin - 1;
  for (int i = 0; i < ufunc->nargs; ++i) {
    PyObject* chosen = i == alpha ? row->slope : i == ufunc->nin ? row->result : row->x.load();
    promoted[i] = reinterpret_cast<PyArray_DTypeMeta*>(Py_NewRef(chosen));
  }
  return 0;
}

int make_ufunc(Ufunc& ufunc, PyObject* promoter) {
  // NumPy reads these arrays as long as the ufunc lives, so they are never freed.
  auto* loops = new PyUFuncGenericFunction[row_count];
  auto* types = new char[row_count * 4];
  int count = 0;
  for (int i = 0; i < row_count; ++i) {
    const Row& row = (*table)[i];
    if (row.x == bfloat16_number) {
      continue;
    }
    char* of = types + count * (ufunc.inputs + 1);
    std::memset(of, row.x, static_cast<std::size_t>(ufunc.inputs));
    of[ufunc.inputs - 1] = static_cast<char>(row.slope);
    of[ufunc.inputs] = static_cast<char>(row.result);
    loops[count++] = (row.*ufunc.loops).ufunc;
  }
  static void* const no_data[row_count] = {};
  ufunc.object = PyUFunc_FromFuncAndData(loops, no_data, types, count, ufunc.inputs, 1, PyUFunc_None, ufunc.name, ufunc.doc, 0);
  if (ufunc.object == nullptr) {
    return -1;
  }
  PyObject* any = ufunc.inputs == 2 ? PyTuple_Pack(3, Py_None, Py_None, Py_None)
                                    : PyTuple_Pack(4, Py_None, Py_None, Py_None, Py_None);
  const int status = any ? PyUFunc_AddPromoter(ufunc.object, any, promoter) : -1;
  Py_XDECREF(any);
  return status;
}

// Makes the ufuncs, once per process, because NumPy never releases them.
int make_ufuncs() {
  if (choose_instruction_set() < 0) {
    return -1;
  }
  for (int i = 0; i < row_count; ++i) {
    if ((*table)[i].x == bfloat16_number) {
      continue;
    }
    RowTypes& row = row_types[i];
    row.slope = dtype_class((*table)[i].slope);
    row.result = dtype_class((*table)[i].result);
    row.x = dtype_class((*table)[i].x);
    if (row.x == nullptr || row.slope == nullptr || row.result == nullptr) {
      return -1;
    }
  }
  PyObject* promoter = PyCapsule_New(reinterpret_cast<void*>(&promote), "numpy._ufunc_promoter", nullptr);
  if (promoter == nullptr) {
    return -1;
  }
  int status = 0;
  for (Ufunc& ufunc : ufuncs) {
    status = status < 0 ? status : make_ufunc(ufunc, promoter);
  }
  Py_DECREF(promoter);
  return status;
}

int execute(PyObject* module) {
  if (PyArray_ImportNumPyAPI() < 0 || PyUFunc_ImportUFuncAPI() < 0) {
    return -1;
  }
  static bool made = false;  // the module may be removed from sys.modules and imported again
  if (!made && make_ufuncs() < 0) {
    return -1;
  }
  made = true;
  for (const Ufunc& ufunc : ufuncs) {
    if (PyModule_AddObjectRef(module, ufunc.name, ufunc.object) < 0) {
      return -1;
    }
  }
  return PyModule_AddStringConstant(module, "instruction_set", instruction_set);
}

// These do not check what they are given, because the Python functions that call them do.
PyObject* py_num_threads(PyObject*, PyObject*) { return PyLong_FromLong(num_threads()); }

PyObject* py_set_num_threads(PyObject*, PyObject* count) {
  const long value = PyLong_AsLong(count);
  if (value == -1 && PyErr_Occurred()) {
    return nullptr;
  }
  set_num_threads(static_cast<int>(value));
  // Not Py_RETURN_NONE: with the headers of Python 3.12 and later it takes no reference, which 3.11 needs.
  return Py_NewRef(Py_None);
}

// Sets one of the memory limits, and returns what it was before.
PyObject* set_threshold(std::atomic<std::size_t>& threshold, PyObject* bytes) {
  const std::size_t value = PyLong_AsSize_t(bytes);
  if (value == static_cast<std::size_t>(-1) && PyErr_Occurred()) {
    return nullptr;
  }
  return PyLong_FromSize_t(threshold.exchange(value));
}

// The tests use these too, so that not all of their arrays have to be large.
PyObject* py_set_threading_threshold(PyObject*, PyObject* bytes) {
  return set_threshold(memory_limits.threading, bytes);
}

PyObject* py_set_streaming_threshold(PyObject*, PyObject* bytes) {
  return set_threshold(memory_limits.streaming, bytes);
}

PyMethodDef methods[] = {
    {"count", count, METH_VARARGS, count_doc},
    {"direct", direct, METH_O, "Put the short way for everyday calls before a function of functions.py."},
    {"get_num_threads", py_num_threads, METH_NOARGS, "Return the number of threads that work on one large array."},
    {"set_num_threads", py_set_num_threads, METH_O, "Set the number of threads that work on one large array."},
    {"set_threading_threshold", py_set_threading_threshold, METH_O,
     "Set from how many bytes (read and written) on several threads work, and return the number before."},
    {"set_streaming_threshold", py_set_streaming_threshold, METH_O,
     "Set above how many bytes (read and written) a result is streamed past the caches, and return the number "
     "before."},
    {"slope_gradient", slope_gradient, METH_VARARGS, slope_gradient_doc},
    {nullptr, nullptr, 0, nullptr},
};

PyModuleDef_Slot slots[] = {
    {Py_mod_exec, reinterpret_cast<void*>(&execute)},
#ifdef Py_GIL_DISABLED
    {Py_mod_gil, Py_MOD_GIL_NOT_USED},
#endif
    {0, nullptr},
};

PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "leakyrelu._ufuncs", "The NumPy ufuncs of leakyrelu.", 0, methods, slots, nullptr, nullptr, nullptr,
};

}  // namespace
}  // namespace leakyrelu

PyMODINIT_FUNC PyInit__ufuncs() { return PyModuleDef_Init(&leakyrelu::definition); }
