// The discrete family on a GPU. A thread goes through the classes of one element: where neighbouring elements lie side
// by side, so do the accesses of neighbouring threads; where classes do, a thread's lines wait in the L1 cache.
#include "cuda/discrete.h"

#include "cuda/launch.cuh"
#include "tiles/discrete.h"

namespace genkern::cuda {
namespace {

// Where an element's classes begin.
template <class Span>
GK_DEVICE int64_t place(const Span& s, const Operand& o) {
  return s.run_in(o) + s.elem * o.elem;
}

template <class T, class S, class Span>
class ClassInput {
 public:
  GK_DEVICE ClassInput(const ClassOperand& o, const Classes&) : operand_(o) {}
  GK_DEVICE explicit operator bool() const { return static_cast<bool>(operand_); }
  GK_DEVICE void seek(const Span& s) { first_ = place(s, operand_); }
  GK_DEVICE T operator[](int64_t k) const {
    const int64_t at = first_ + k * operand_.each;
    if constexpr (std::is_same_v<S, Any>) {
      T value;
      with_storage<T>(operand_.dtype, [&](auto type) {
        value = static_cast<T>(widen(static_cast<const decltype(type)*>(operand_.data)[at]));
      });
      return value;
    } else {
      return static_cast<T>(widen(static_cast<const S*>(operand_.data)[at]));
    }
  }

 private:
  const ClassOperand& operand_;
  int64_t first_ = 0;
};

template <class T, class S, class Span>
class ClassOutput {
 public:
  GK_DEVICE ClassOutput(const ClassOperand& o, const Classes&) : operand_(o) {}
  GK_DEVICE void seek(const Span& s) { first_ = place(s, operand_); }
  GK_DEVICE void set(int64_t k, T value) {
    if (!operand_) return;
    const int64_t at = first_ + k * operand_.each;
    if constexpr (std::is_same_v<S, Any>) {
      with_storage<T>(operand_.dtype, [&](auto type) {
        static_cast<decltype(type)*>(operand_.data)[at] = narrow<decltype(type)>(value);
      });
    } else {
      static_cast<S*>(operand_.data)[at] = narrow<S>(value);
    }
  }
  GK_DEVICE void commit(const Span&) {}

 private:
  const ClassOperand& operand_;
  int64_t first_ = 0;
};

// A thread has no room for a number a class.
template <class T>
class ClassScratch {
 public:
  GK_DEVICE explicit ClassScratch(const Classes&, bool = true) {}
  GK_DEVICE T set(int64_t, T value) { return value; }
  template <class Compute>
  GK_DEVICE T get(int64_t, const Compute& compute) const {
    return compute();
  }
};

// Gumbel noise of an element: the caller's, or made from the key each time it is asked for.
template <class T, class S, class Span>
class ClassNoise {
 public:
  GK_DEVICE explicit ClassNoise(const GumbelSoftmax& a)
      : a_(a), given_(a.eps, a), key_(a.eps ? Key{} : block_key(a.noise.key)) {}
  GK_DEVICE void seek(const Span& s) {
    given_.seek(s);
    const int64_t outer = s.first / a_.inner;
    first_ = a_.noise.element_offset + static_cast<uint64_t>(s.first + outer * (a_.classes - 1) * a_.inner);
  }
  GK_DEVICE T operator[](int64_t k) const {
    if (given_) return given_[k];
    T u[1];
    stream<Uniform>(key_, first_ + static_cast<uint64_t>(k * a_.inner), u);
    return gumbel(u[0]);
  }

 private:
  const GumbelSoftmax& a_;
  ClassInput<T, S, Span> given_;
  Key key_;
  uint64_t first_ = 0;
};

// What the family's tiles are compiled against: one element a thread.
template <class U, class S>
struct ClassEngine : Engine<U, S, 1> {
  using Span = typename Engine<U, S, 1>::Span;
  using Block = Span;
  using ClassInput = cuda::ClassInput<U, S, Span>;
  using ClassOutput = cuda::ClassOutput<U, S, Span>;
  using ClassScratch = cuda::ClassScratch<U>;
  using ClassNoise = cuda::ClassNoise<U, S, Span>;
  static GK_DEVICE const Block& block(const Span& s, int64_t) { return s; }
};

// The storage type, if it is one for all operands with classes, which may lie any stride apart.
std::optional<DType> class_storage(const Extent& extent, std::initializer_list<const ClassOperand*> data,
                                   std::initializer_list<const Operand*> losses) {
  if (!is_simple(extent)) return std::nullopt;
  std::optional<DType> found;
  for (const ClassOperand* o : data) {
    if (!*o) continue;
    const bool near = extent.rows == 1 || (o->row >= INT32_MIN && o->row <= INT32_MAX);
    if (!near || (found && o->dtype != *found)) return std::nullopt;
    found = o->dtype;
  }
  for (const Operand* o : losses)
    if (*o && (!is_simple(*o, extent) || o->dtype != DType::f32)) return std::nullopt;
  return found;
}

template <class A, class F>
Status with_classes(const A& a, std::initializer_list<const ClassOperand*> data,
                    std::initializer_list<const Operand*> losses, const F& f) {
  if (a.extent.numel() == 0) return nullptr;
  if (a.wide) return f(ClassEngine<double, Any>());
  const auto storage = class_storage(a.extent, data, losses);
  if (storage == DType::f32) return f(ClassEngine<float, float>());
  if (storage == DType::bf16) return f(ClassEngine<float, __nv_bfloat16>());
  if (storage == DType::f16) return f(ClassEngine<float, __half>());
  return f(ClassEngine<float, Any>());
}

}  // namespace

Status discrete_forward(const DiscreteForward& a, const Launch& launch) {
  const Operand value = elementwise(a.value);
  return with_classes(a, {&a.p, &a.q}, {&value}, [&](auto engine) {
    using E = decltype(engine);
    return reduce<E, DiscreteForwardTile<E>>(a, {&a.value}, 0, launch);
  });
}

Status discrete_backward(const DiscreteBackward& a, const Launch& launch) {
  return with_classes(a, {&a.p, &a.q, &a.d_p, &a.d_q}, {&a.grad}, [&](auto engine) {
    using E = decltype(engine);
    return map<E, DiscreteBackwardTile<E>>(a, 0, launch);
  });
}

Status categorical_forward(const CategoricalForward& a, const Launch& launch) {
  const Operand value = elementwise(a.value);
  return with_classes(a, {&a.q, &a.p}, {&value}, [&](auto engine) {
    using E = decltype(engine);
    return reduce<E, CategoricalForwardTile<E>>(a, {&a.value}, 0, launch);
  });
}

Status categorical_backward(const CategoricalBackward& a, const Launch& launch) {
  return with_classes(a, {&a.q, &a.p, &a.d_q, &a.d_p}, {&a.grad}, [&](auto engine) {
    using E = decltype(engine);
    return map<E, CategoricalBackwardTile<E>>(a, 0, launch);
  });
}

Status gumbel_softmax_forward(const GumbelSoftmaxForward& a, const Launch& launch) {
  return with_classes(a, {&a.logits, &a.eps, &a.y}, {}, [&](auto engine) {
    using E = decltype(engine);
    return map<E, GumbelForwardTile<E>>(a, 0, launch);
  });
}

Status gumbel_softmax_backward(const GumbelSoftmaxBackward& a, const Launch& launch) {
  return with_classes(a, {&a.logits, &a.eps, &a.y, &a.grad, &a.d_logits, &a.d_eps}, {}, [&](auto engine) {
    using E = decltype(engine);
    return map<E, GumbelBackwardTile<E>>(a, 0, launch);
  });
}

}  // namespace genkern::cuda
