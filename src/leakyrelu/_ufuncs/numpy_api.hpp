// Python's and NumPy's C API, set up in the same way in every translation unit.

#pragma once

#include <Python.h>

#define NPY_NO_DEPRECATED_API NPY_2_0_API_VERSION
#define NPY_TARGET_VERSION NPY_2_0_API_VERSION
#define PY_ARRAY_UNIQUE_SYMBOL leakyrelu_ARRAY_API
#define PY_UFUNC_UNIQUE_SYMBOL leakyrelu_UFUNC_API
#ifndef LEAKYRELU_IMPORTS_NUMPY  // module.cpp imports it for all
#define NO_IMPORT_ARRAY
#define NO_IMPORT_UFUNC
#endif
#include <numpy/ndarraytypes.h>

#include <numpy/arrayobject.h>
#include <numpy/ufuncobject.h>

static_assert(sizeof(npy_longdouble) == NPY_SIZEOF_LONGDOUBLE,
              "leakyrelu needs the long double that NumPy was compiled with. Compile without -mlong-double-64.");
