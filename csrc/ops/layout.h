// Turns tensors of any layout into what the kernels read: an extent of rows, runs and elements, and strides over it.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/util/SmallVector.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "kernels.h"
#include "ops/sum.h"

namespace genkern {

// Collects the operands of one launch. resolve() finds an extent on which all of them have constant strides;
// a tensor for which there is none is copied, an output then in finish().
class Layout {
 public:
  // any_order: nothing depends on the order of elements within an event, so it may follow memory.
  Layout(at::IntArrayRef shape, int64_t event_ndim, bool any_order);

  void in(Operand& operand, const at::Tensor& tensor);        // broadcasts to the shape; undefined: absent
  void out(Operand& operand, const at::Tensor& tensor);       // of the shape
  void gradient(Operand& operand, const at::Tensor& tensor);  // of an argument that was broadcast; undefined: absent
  // The gradient of an argument that has one value for a row or for several, as sums over rows.
  void row_sums(Loss& sums, const at::Tensor& gradient, at::ScalarType type);
  // The same of tensors with channels, which are none of the shape's dimensions and lie at a stride that is given back
  // by resolve().
  void in(Operand& operand, const at::Tensor& tensor, int64_t channel_dim, int64_t& channel_stride);
  void gradient(Operand& operand, const at::Tensor& tensor, int64_t channel_dim, int64_t& channel_stride);
  bool fits();  // whether resolve() would find strides for all of them, and copy none
  Extent resolve();
  void finish();

 private:
  struct Slot {
    Operand* operand;
    at::Tensor tensor;  // what the kernel uses
    at::Tensor target;  // where an output goes that the kernel does not write in place, summed over what broadcast
    bool is_output;
    c10::SmallVector<int64_t, 6> strides;  // over the shape
    int64_t channel_dim = -1;              // of the tensor; -1: none
    int64_t* channel_stride = nullptr;
    bool is_summed = false;  // the gradient of what was broadcast
  };

  void add(Operand& operand, const at::Tensor& tensor, bool is_output, int64_t channel_dim = -1,
           int64_t* channel_stride = nullptr);
  bool all_contiguous() const;
  bool collapse(Extent& extent);
  void follow_memory();
  bool sum_in_parts(Extent& extent);
  void make_whole();
  bool simple(const Slot& slot) const;
  void densify(Slot& slot);

  c10::SmallVector<int64_t, 6> shape_;
  int64_t batch_ndim_;
  bool any_order_;
  c10::SmallVector<int64_t, 6> order_;  // of the dimensions, where follow_memory() changed it
  c10::SmallVector<Slot, 8> slots_;
  std::vector<std::pair<at::Tensor, at::Tensor>> sums_;  // where they go, and where the kernel leaves them
};

// The type of arithmetic: double where the tensor of an operand is, of those that came so far.
template <class Slots>
at::ScalarType arithmetic(const Slots& slots) {
  const auto wide = [](const auto& slot) { return slot.tensor.scalar_type() == at::kDouble; };
  return std::any_of(slots.begin(), slots.end(), wide) ? at::kDouble : at::kFloat;
}

// A tensor of sums over an event, seen over the elements: dimensions of size 1 behind those it has.
at::Tensor trailing_ones(const at::Tensor& tensor, int64_t ndim);

DType storage_type(const at::Tensor& tensor);

}  // namespace genkern
