// The memory that a launch reads and writes, so that it can be carried to a processor with memory of its own.
#pragma once

#include <algorithm>
#include <string_view>

#include "kernels.h"

namespace genkern {

constexpr int64_t size_of(DType dtype) {
  switch (dtype) {
    case DType::f64:
    case DType::i64:
      return 8;
    case DType::f32:
    case DType::i32:
      return 4;
    case DType::bf16:
    case DType::f16:
    case DType::i16:
      return 2;
  }
  return 0;
}

// Elements from an operand's first to its last, where it has what its strides over the extent say.
inline int64_t span(const Extent& e, const Operand& o) {
  return e.numel() == 0 ? 0 : (e.rows - 1) * o.row + (e.runs - 1) * o.run + (e.length - 1) * o.elem + 1;
}

// The same of a launch that has something besides its extent: samples, channels, classes, members of a group.
template <class A>
int64_t elements(std::string_view kernel, const A& a, const Operand& o) {
  const int64_t most = span(a.extent, o);
  [[maybe_unused]] const auto is = [&](const Operand& member) { return &o == &member; };
  if (most == 0) return 0;
  if constexpr (std::is_base_of_v<GaussianHead, A>) {
    const int64_t others = std::max<int64_t>(a.samples, 1) - 1;
    if (is(a.noise.eps)) return most + others * a.noise.eps_sample;
    if constexpr (requires { a.z; }) {
      if (is(a.z)) return most + others * a.z_sample;
    } else {
      if (is(a.grad_z)) return most + others * a.grad_z_sample;
      if (is(a.d_eps)) return most + others * a.d_eps_sample;
    }
  } else if constexpr (std::is_base_of_v<LogisticMixture, A>) {
    const int64_t params = a.mixtures * (kernel.starts_with("rgb") ? 10 : 1 + 2 * a.channels);
    if (is(a.x)) return most + (a.channels - 1) * a.x_channel;
    if (is(a.params)) return most + (params - 1) * a.params_channel;
    if constexpr (requires { a.d_x; }) {
      if (is(a.d_x)) return most + (a.channels - 1) * a.d_x_channel;
      if (is(a.d_params)) return most + (params - 1) * a.d_params_channel;
    }
  } else if constexpr (std::is_base_of_v<GanLoss, A>) {
    if (is(a.real)) return a.reals;
    if (is(a.fake)) return a.fakes;
    if constexpr (requires { a.d_real; }) {
      if (is(a.d_real)) return a.reals;
      if (is(a.d_fake)) return a.fakes;
    }
  } else if constexpr (std::is_base_of_v<MinibatchStddev, A>) {
    if (is(a.x)) return a.numel;
    if constexpr (requires { a.d_x; }) {
      if (is(a.d_x)) return a.numel;
      if (is(a.upstream)) {  // the last member has fewer rows
        const int64_t before = a.members - 1, rows = (a.numel - before * a.member) / a.extent.event();
        return before * a.upstream_member + span({rows, a.extent.runs, a.extent.length}, o);
      }
    }
  }
  return most;
}

template <class A>
int64_t elements(std::string_view, const A& a, const ClassOperand& o) {
  const int64_t of_one = span(a.extent, o);
  return of_one ? of_one + (a.classes - 1) * o.each : 0;
}

// f(pointer, bytes) for each piece of memory; what a pointer to const names is read alone.
template <class F>
void each_memory(KeySource& key, const F& f) {
  f(key.seed, 8);
  f(key.offset, 8);
  f(key.out, 16);
}

template <class A, class F>
void each_memory(std::string_view kernel, A& a, const F& f) {
  if constexpr (requires { a.noise.key; }) each_memory(a.noise.key, f);
  if constexpr (std::is_base_of_v<Interpolate, A>)  // not among the operands
    f(a.noise.eps.data, span(a.extent, a.noise.eps) * size_of(a.noise.eps.dtype));
  a.each_operand([&](auto& o) {
    using O = std::remove_reference_t<decltype(o)>;
    if constexpr (std::is_same_v<O, Loss>) {
      const int64_t values[] = {span(a.extent, o.out), a.extent.rows, 1};
      f(o.out.data, values[static_cast<int>(o.reduction)] * (a.wide ? 8 : 4));
    } else {
      f(o.data, elements(kernel, a, o) * size_of(o.dtype));
    }
  });
}

template <class F>
void each_memory(std::string_view, RandomFill& a, const F& f) {
  each_memory(a.key, f);
  f(a.out, a.numel * size_of(a.dtype));
}

template <class F>
void each_memory(std::string_view, KeySplit& a, const F& f) {
  each_memory(a.key, f);
  f(a.out, a.count * 16);
}

template <class F>
void each_memory(std::string_view, EmaUpdate& a, const F& f) {
  f(a.tensors, a.count * sizeof(EmaTensor));
  for (int64_t i = 0; i < a.count; ++i) {
    EmaTensor& t = const_cast<EmaTensor&>(a.tensors[i]);  // a copy of it, where f changes pointers
    f(t.average, t.numel * size_of(t.average_type));
    f(t.value, t.numel * size_of(t.value_type));
  }
}

// Of what has no operands: bytes of a number.
template <class A>
int64_t size_of_number(const A& a) {
  return a.wide ? 8 : 4;
}

template <class F>
void inputs(GaussianMixture& a, const F& f) {
  const int64_t size = size_of_number(a);
  f(a.z, a.points * a.dims * size);
  f(a.loc, a.components * a.dims * size);
  f(a.log_scale, ((a.components - 1) * a.log_scale_row + (a.dims - 1) * a.log_scale_elem + 1) * size);
  f(a.log_weights, ((a.log_weights_row ? (a.points - 1) * a.log_weights_row : 0) + a.components) * size);
}
inline int64_t marginals(const GaussianMixture& a) { return a.marginals ? a.points * a.dims : 0; }

template <class F>
void each_memory(std::string_view, GaussianMixtureForward& a, const F& f) {
  inputs(a, f);
  for (auto* values : {&a.joint, &a.joint_total}) f(*values, a.points * size_of_number(a));
  for (auto* values : {&a.marginal, &a.marginal_total}) f(*values, marginals(a) * size_of_number(a));
}
template <class F>
void each_memory(std::string_view, GaussianMixtureBackward& a, const F& f) {
  const int64_t size = size_of_number(a);
  inputs(a, f);
  for (auto* values : {&a.joint, &a.grad_joint}) f(*values, a.points * size);
  for (auto* values : {&a.marginal, &a.grad_marginal}) f(*values, marginals(a) * size);
  f(a.d_z, a.points * a.dims * size);
  for (auto* values : {&a.d_loc, &a.d_log_scale}) f(*values, a.components * a.dims * size);
  f(a.d_log_weights, (a.log_weights_row ? a.points : 1) * a.components * size);
}

template <class F>
void inputs(Mmd& a, const F& f) {
  f(a.x, a.x_rows * a.dims * size_of_number(a));
  f(a.y, a.y_rows * a.dims * size_of_number(a));
}
template <class F>
void each_memory(std::string_view, MmdForward& a, const F& f) {
  inputs(a, f);
  f(a.value, size_of_number(a));
}
template <class F>
void each_memory(std::string_view, MmdBackward& a, const F& f) {
  inputs(a, f);
  f(a.grad, size_of_number(a));
  f(a.d_x, a.x_rows * a.dims * size_of_number(a));
  f(a.d_y, a.y_rows * a.dims * size_of_number(a));
}

}  // namespace genkern
