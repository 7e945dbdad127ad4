// An op whose result is a loss over elements: forward and backward, whatever the loss is of.
#pragma once

#include "ops/arguments.h"
#include "ops/device.h"

namespace genkern {

// An `Op` reads its arguments, checks them, and has
//   Forward, Backward, forward, backward    the launch structs and the kernels
//   tensors, shape, reduce                  the tensors, the first of them never absent; the shape of what is reduced
//   fill(a)                                 fills in what forward and backward share, and gives the layout
//   gradients(a, layout, mask)              makes the gradients, as arguments of the layout
template <class Op>
Tensors loss_forward(Arguments& arguments) {
  const Op op(arguments);
  typename Op::Forward a;
  auto layout = op.fill(a);
  const Tensor& first = op.tensors[0];
  const Tensor loss = make_loss(a.loss, op.reduce, layout, first, op.shape, compute_type(op.tensors));
  launch(layout, first, op.forward, a);
  return {loss};
}

template <class Op>
Tensors loss_backward(Arguments& arguments) {
  const Tensor grad = arguments.tensor();
  const Op op(arguments);
  typename Op::Backward a;
  auto layout = op.fill(a);
  layout.in(a.grad, expand_grad(grad, op.reduce, op.shape));
  a.factor = op.reduce.factor;
  const Tensors gradients = op.gradients(a, layout, arguments.integer());
  launch(layout, op.tensors[0], op.backward, a);
  return gradients;
}

template <class Op>
void implement_loss(torch::Library& m, const char* name) {
  implement<loss_forward<Op>, loss_backward<Op>>(m, name);
}

template <class A>
A arguments_of(KernelOf<A> kernel);

// A loss over the elements that tensors broadcast to. The tensors and their gradients come in the order in which the
// launch structs list their operands; read(a, arguments) reads the options between the tensors and the reduction.
// kOfCounts: the first tensor may be one of integers.
template <auto forward_kernel, auto backward_kernel, auto read, bool kOfCounts = false>
struct ElementwiseLoss {
  using Forward = decltype(arguments_of(forward_kernel));
  using Backward = decltype(arguments_of(backward_kernel));
  using Inputs = typename Forward::Inputs;
  static constexpr auto forward = forward_kernel;
  static constexpr auto backward = backward_kernel;
  Inputs options;
  Tensors tensors;
  at::DimVector shape;
  Reduce reduce;

  explicit ElementwiseLoss(Arguments& a)
      : tensors(read_tensors(a)), shape(broadcast(tensors, kOfCounts)), reduce(read_loss(a)) {}

  Layout fill(Inputs& a) const {
    a = options;
    a.wide = compute_type(tensors) == at::kDouble;
    Layout layout(shape, reduce.event_ndim, true);
    auto tensor = tensors.begin();
    a.each_operand([&](Operand& operand) { layout.in(operand, *tensor++); });
    return layout;
  }

  Tensors gradients(Backward& a, Layout& layout, int64_t mask) const {
    Tensors found;
    for (const Tensor& tensor : tensors) found.push_back(wanted(tensor, mask, static_cast<int>(found.size())));
    if constexpr (kOfCounts) a.options.by_x = found[0].defined();
    auto gradient = found.begin();
    size_t before = tensors.size() + 1;  // the operands of forward, and the gradient that arrives
    bool summed = false;
    a.each_operand([&](auto& operand) {
      if (before > 0) {
        --before;
      } else if constexpr (std::is_same_v<decltype(operand), Loss&>) {
        summed = gradient->defined() && has_one_a_row(*gradient);
        if (summed) layout.row_sums(operand, *gradient, compute_type(tensors));
      } else {
        if (!summed) layout.gradient(operand, *gradient);
        summed = false;
        ++gradient;
      }
    });
    return found;
  }

 private:
  static Tensors read_tensors(Arguments& a) {
    Tensors found;
    Inputs().each_operand([&](const Operand&) { found.push_back(a.tensor()); });
    return found;
  }
  Reduce read_loss(Arguments& a) {
    read(options, a);
    return a.loss().over(shape);
  }
  // Whether a tensor has one value for a whole row, so that its gradient is a sum over the row.
  bool has_one_a_row(const Tensor& tensor) const {
    const auto event = std::min(tensor.dim(), reduce.event_ndim);
    const auto of_event = tensor.sizes().slice(tensor.dim() - event);
    return tensor.sizes() != at::IntArrayRef(shape) &&
           std::all_of(of_event.begin(), of_event.end(), [](int64_t size) { return size == 1; });
  }
};

template <auto forward_kernel, auto backward_kernel, auto read>
void implement_loss(torch::Library& m, const char* name) {
  implement_loss<ElementwiseLoss<forward_kernel, backward_kernel, read>>(m, name);
}

}  // namespace genkern
