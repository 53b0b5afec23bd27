// The table of types. It is compiled once for each instruction set; isa.hpp says why.

#include "loops.hpp"

#include "counting.hpp"
#include "isa.hpp"
#include "slope_gradient.hpp"
#include "ufunc_loop.hpp"

namespace leakyrelu {
namespace LEAKYRELU_ISA {

template <class X>
constexpr Count count_of() {
  if constexpr (is_16_bit<X> || std::is_same_v<X, float> || std::is_same_v<X, double>) {
    return count<X>;
  } else {
    return nullptr;
  }
}

template <class X>
constexpr SlopeGradient slope_gradient_of() {
  if constexpr (is_16_bit<X> || std::is_floating_point_v<X>) {
    return slope_gradient<X>;
  } else {
    return nullptr;
  }
}

template <class X>
constexpr Row row(int x, int slope, int result) {
  return {x,
          slope,
          result,
          {unary_loop<LeakyRelu, X>, unary_channels<LeakyRelu, X>},
          {unary_loop<LeakyReluDerivative, X>, unary_channels<LeakyReluDerivative, X>},
          {binary_loop<LeakyReluBackward, X>, binary_channels<LeakyReluBackward, X>},
          count_of<X>(),
          slope_gradient_of<X>()};
}

extern const Table table = {
    row<boolean>(NPY_BOOL, NPY_DOUBLE, NPY_DOUBLE),
    row<signed char>(NPY_BYTE, NPY_DOUBLE, NPY_DOUBLE),
    row<unsigned char>(NPY_UBYTE, NPY_DOUBLE, NPY_DOUBLE),
    row<short>(NPY_SHORT, NPY_DOUBLE, NPY_DOUBLE),
    row<unsigned short>(NPY_USHORT, NPY_DOUBLE, NPY_DOUBLE),
    row<int>(NPY_INT, NPY_DOUBLE, NPY_DOUBLE),
    row<unsigned int>(NPY_UINT, NPY_DOUBLE, NPY_DOUBLE),
    row<long>(NPY_LONG, NPY_DOUBLE, NPY_DOUBLE),
    row<unsigned long>(NPY_ULONG, NPY_DOUBLE, NPY_DOUBLE),
    row<long long>(NPY_LONGLONG, NPY_DOUBLE, NPY_DOUBLE),
    row<unsigned long long>(NPY_ULONGLONG, NPY_DOUBLE, NPY_DOUBLE),
    row<half>(NPY_HALF, NPY_FLOAT, NPY_HALF),
    row<bfloat16>(bfloat16_number, NPY_FLOAT, bfloat16_number),
    row<float>(NPY_FLOAT, NPY_FLOAT, NPY_FLOAT),
    row<double>(NPY_DOUBLE, NPY_DOUBLE, NPY_DOUBLE),
    row<npy_longdouble>(NPY_LONGDOUBLE, NPY_LONGDOUBLE, NPY_LONGDOUBLE),
};

}  // namespace LEAKYRELU_ISA
}  // namespace leakyrelu
