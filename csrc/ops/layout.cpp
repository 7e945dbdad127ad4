#include "ops/layout.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <numeric>

#include "cpu/chunks.h"
#include "cpu/dispatch.h"

namespace genkern {
namespace {

// Parts of an extent, each with sums of its own: as many as threads may share, in a quarter of one tensor at most. A
// part takes at least two chunks, as another thread does.
constexpr int64_t kMostParts = 64, kFewParts = 8, kLeastChunks = 2, kElementsOfSum = 8;

}  // namespace

DType storage_type(const at::Tensor& tensor) {
  switch (tensor.scalar_type()) {
    case at::kDouble:
      return DType::f64;
    case at::kFloat:
      return DType::f32;
    case at::kBFloat16:
      return DType::bf16;
    case at::kHalf:
      return DType::f16;
    case at::kShort:
      return DType::i16;
    case at::kInt:
      return DType::i32;
    case at::kLong:
      return DType::i64;
    default:
      TORCH_INTERNAL_ASSERT(false, "unchecked dtype ", tensor.scalar_type());
  }
}

Layout::Layout(at::IntArrayRef shape, int64_t event_ndim, bool any_order)
    : shape_(shape.begin(), shape.end()),
      batch_ndim_(static_cast<int64_t>(shape.size()) - event_ndim),
      any_order_(any_order) {}

void Layout::in(Operand& operand, const at::Tensor& tensor) {
  if (tensor.defined()) add(operand, tensor, false);
}

void Layout::out(Operand& operand, const at::Tensor& tensor) { add(operand, tensor, true); }

void Layout::gradient(Operand& operand, const at::Tensor& tensor) {
  if (!tensor.defined()) return;
  if (tensor.numel() == c10::multiply_integers(shape_)) return add(operand, tensor, true);
  add(operand, at::empty(tensor.sizes(), tensor.options()), true);  // its strides are those of the sums
  slots_.back().target = tensor;
  slots_.back().is_summed = true;
}

void Layout::row_sums(Loss& sums, const at::Tensor& gradient, at::ScalarType type) {
  const at::IntArrayRef rows(shape_.data(), batch_ndim_);
  const at::Tensor made = at::empty(rows, gradient.options().dtype(type));
  sums.reduction = Reduction::event;
  sums.out.data = made.data_ptr();
  if (c10::multiply_integers(shape_) == 0) made.zero_();
  sums_.emplace_back(gradient, trailing_ones(made, static_cast<int64_t>(shape_.size())));
}

void Layout::in(Operand& operand, const at::Tensor& tensor, int64_t channel_dim, int64_t& channel_stride) {
  add(operand, tensor, false, channel_dim, &channel_stride);
}

void Layout::gradient(Operand& operand, const at::Tensor& tensor, int64_t channel_dim, int64_t& channel_stride) {
  if (!tensor.defined()) return;
  at::DimVector full(shape_.begin(), shape_.end());
  full.insert(full.begin() + channel_dim, tensor.size(channel_dim));
  if (tensor.sizes() == at::IntArrayRef(full)) return add(operand, tensor, true, channel_dim, &channel_stride);
  add(operand, at::empty(full, tensor.options().dtype(arithmetic(slots_))), true, channel_dim, &channel_stride);
  slots_.back().target = tensor;
}

void Layout::add(Operand& operand, const at::Tensor& tensor, bool is_output, int64_t channel_dim,
                 int64_t* channel_stride) {
  Slot slot{&operand, tensor, {}, is_output, {}, channel_dim, channel_stride};
  at::DimVector sizes(tensor.sizes().begin(), tensor.sizes().end());
  at::DimVector strides(tensor.strides().begin(), tensor.strides().end());
  if (channel_dim >= 0) {
    sizes.erase(sizes.begin() + channel_dim);
    strides.erase(strides.begin() + channel_dim);
  }
  const size_t missing = shape_.size() - sizes.size();
  slot.strides.resize(shape_.size(), 0);
  for (size_t d = 0; d < sizes.size(); ++d)
    if (sizes[d] == shape_[missing + d]) slot.strides[missing + d] = strides[d];
  slots_.push_back(std::move(slot));
}

bool Layout::fits() {
  if (all_contiguous()) return true;
  if (any_order_) follow_memory();
  Extent extent;
  return collapse(extent);
}

Extent Layout::resolve() {
  Extent extent;
  if (c10::multiply_integers(shape_) == 0) make_whole();
  if (all_contiguous()) {
    for (size_t d = 0; d < shape_.size(); ++d)
      (static_cast<int64_t>(d) < batch_ndim_ ? extent.rows : extent.length) *= shape_[d];
    for (Slot& s : slots_) {
      s.operand->row = extent.length;
      s.operand->run = 0;
      s.operand->elem = 1;
    }
  } else {
    if (any_order_) follow_memory();
    if (!collapse(extent) || !sum_in_parts(extent)) {
      make_whole();
      if (!collapse(extent)) {
        for (Slot& s : slots_)
          if (!simple(s)) densify(s);
        TORCH_INTERNAL_ASSERT(collapse(extent));
      }
    }
  }
  for (Slot& s : slots_) {
    s.operand->data = s.tensor.data_ptr();
    s.operand->dtype = storage_type(s.tensor);
    if (s.channel_stride) *s.channel_stride = s.tensor.stride(s.channel_dim);
  }
  return extent;
}

void Layout::finish() {
  for (Slot& s : slots_)
    if (s.target.defined()) sum_into(s.target, s.tensor);
  for (const auto& [target, made] : sums_) sum_into(target, made);
}

at::Tensor trailing_ones(const at::Tensor& tensor, int64_t ndim) {
  at::DimVector sizes(tensor.sizes().begin(), tensor.sizes().end());
  at::DimVector strides(tensor.strides().begin(), tensor.strides().end());
  sizes.resize(ndim, 1);
  strides.resize(ndim, 0);
  return tensor.as_strided(sizes, strides);
}

bool Layout::all_contiguous() const {
  // No element is read or written by the strides of an extent without elements.
  if (c10::multiply_integers(shape_) == 0) return true;
  return std::all_of(slots_.begin(), slots_.end(), [&](const Slot& s) {
    return s.tensor.sizes() == at::IntArrayRef(shape_) && s.tensor.is_contiguous();
  });
}

// Merge dimensions: the batch into one, the event into at most two. Of extent, row, run and elem.
bool Layout::collapse(Extent& extent) {
  c10::SmallVector<int64_t, 6> groups;  // the innermost dimension of each group
  c10::SmallVector<int64_t, 6> sizes;
  int64_t batch_groups = 0;
  for (int64_t d = 0; d < static_cast<int64_t>(shape_.size()); ++d) {
    if (shape_[d] == 1) continue;
    const bool starts_event = d >= batch_ndim_ && static_cast<int64_t>(groups.size()) == batch_groups;
    const bool merges = !groups.empty() && !(starts_event && batch_groups > 0) && (d < batch_ndim_ || !starts_event) &&
                        std::all_of(slots_.begin(), slots_.end(), [&](const Slot& s) {
                          return s.strides[groups.back()] == s.strides[d] * shape_[d];
                        });
    if (merges) {
      groups.back() = d;
      sizes.back() *= shape_[d];
    } else {
      groups.push_back(d);
      sizes.push_back(shape_[d]);
    }
    if (d < batch_ndim_) batch_groups = static_cast<int64_t>(groups.size());
  }
  const int64_t event_groups = static_cast<int64_t>(groups.size()) - batch_groups;
  if (batch_groups > 1 || event_groups > 2) return false;
  extent = {};
  const auto stride = [](const Slot& s, int64_t dim) { return dim < 0 ? 0 : s.strides[dim]; };
  const int64_t row = batch_groups ? groups[0] : -1;
  const int64_t elem = event_groups ? groups.back() : -1;
  const int64_t run = event_groups == 2 ? groups[batch_groups] : -1;
  if (row >= 0) extent.rows = sizes[0];
  if (run >= 0) extent.runs = sizes[batch_groups];
  if (elem >= 0) extent.length = sizes.back();
  for (Slot& s : slots_) {
    s.operand->row = stride(s, row);
    s.operand->run = stride(s, run);
    // One element a run: its stride is never used, and 1 lets a dense column be read in place.
    s.operand->elem = elem >= 0 ? stride(s, elem) : s.operand->row == 0 ? 0 : 1;
  }
  return true;
}

// Lets the launch sum the gradients of what was broadcast; false: not in so little memory, or not on this device. What
// varies with the rows is summed once for all parts, which are whole rows then. Parts follow from the shapes alone.
bool Layout::sum_in_parts(Extent& extent) {
  int64_t sums = 0;
  bool any = false, by_row = false;
  for (const Slot& s : slots_) {
    any |= s.is_summed;
    by_row |= s.is_summed && s.operand->row != 0;
    if (s.is_summed && s.operand->row == 0) sums += s.tensor.numel();
  }
  if (!any) return true;
  if (!slots_[0].tensor.is_cpu() || !cpu_kernels().sums) return false;
  const Chunks chunks(extent);
  const auto divided = [](int64_t n, int64_t by) { return (n + by - 1) / by; };
  const int64_t useful = std::min(kMostParts, divided(chunks.count(), kLeastChunks));
  int64_t parts = useful;
  if (sums > 0) parts = std::min(parts, extent.numel() / (kElementsOfSum * sums));
  if (by_row) parts = std::min(parts, extent.rows);
  if (parts < std::min(useful, kFewParts)) return false;
  extent.chunks_a_part = divided(chunks.count(), parts);
  if (by_row) extent.chunks_a_part = divided(extent.chunks_a_part, chunks.pieces) * chunks.pieces;
  for (Slot& s : slots_) {
    if (!s.is_summed) continue;
    const bool has_row = s.operand->row != 0;
    s.operand->part = has_row ? 0 : s.tensor.numel();
    at::DimVector sizes(s.tensor.sizes().begin(), s.tensor.sizes().end());
    sizes.insert(sizes.begin(), has_row ? 1 : divided(chunks.count(), extent.chunks_a_part));
    s.tensor = at::zeros(sizes, s.tensor.options().dtype(at::kDouble));
  }
  return true;
}

// Makes those gradients element by element, to be summed in finish().
void Layout::make_whole() {
  for (Slot& s : slots_)
    if (s.is_summed) densify(s);
}

// Put the dimensions of the event into the order in which the first operand that has them all lies in memory.
void Layout::follow_memory() {
  const auto batch = batch_ndim_;
  const auto has_all = [&](const Slot& s) {
    for (size_t d = batch; d < shape_.size(); ++d)
      if (shape_[d] > 1 && s.strides[d] == 0) return false;
    return true;
  };
  const auto first = std::find_if(slots_.begin(), slots_.end(), has_all);
  if (first == slots_.end()) return;
  c10::SmallVector<int64_t, 6> order(shape_.size(), 0);
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin() + batch, order.end(),
                   [&](int64_t a, int64_t b) { return first->strides[a] > first->strides[b]; });
  if (std::is_sorted(order.begin(), order.end())) return;
  const auto permute = [&](auto& values) {
    const auto before = values;
    for (size_t d = 0; d < order.size(); ++d) values[d] = before[order[d]];
  };
  for (Slot& s : slots_) permute(s.strides);
  permute(shape_);
  order_ = order;
}

// Dense in logical order, or one value for everything.
bool Layout::simple(const Slot& slot) const {
  const auto& s = slot.strides;
  if (std::all_of(s.begin(), s.end(), [](int64_t v) { return v == 0; })) return true;
  int64_t expected = 1;
  for (int64_t d = static_cast<int64_t>(shape_.size()) - 1; d >= 0; --d) {
    if (shape_[d] != 1 && s[d] != expected) return false;
    expected *= shape_[d];
  }
  return true;
}

void Layout::densify(Slot& slot) {
  const auto options = slot.tensor.options().dtype(slot.is_summed ? arithmetic(slots_) : slot.tensor.scalar_type());
  // The tensor is made in the original order of dimensions, then permuted as the strides are.
  c10::SmallVector<int64_t, 6> inverse(order_.size(), 0);
  for (size_t d = 0; d < order_.size(); ++d) inverse[order_[d]] = static_cast<int64_t>(d);
  at::Tensor dense, logical;
  if (slot.channel_dim < 0) {
    dense = at::empty(shape_, options);
    logical = order_.empty() ? dense : dense.permute(inverse);
  } else {
    // Channel by channel, each as above.
    at::DimVector sizes(shape_.begin(), shape_.end());
    sizes.insert(sizes.begin(), slot.tensor.size(slot.channel_dim));
    dense = at::empty(sizes, options);
    at::DimVector dims{0};
    for (size_t d = 0; d < shape_.size(); ++d)
      dims.push_back(1 + (order_.empty() ? static_cast<int64_t>(d) : inverse[d]));
    logical = dense.permute(dims).movedim(0, slot.channel_dim);
    dense = dense.select(0, 0);
  }
  if (slot.is_output) {
    if (!slot.target.defined()) slot.target = slot.tensor;
  } else {
    logical.copy_(slot.tensor);
  }
  slot.strides.assign(dense.strides().begin(), dense.strides().end());
  slot.tensor = logical;
}

}  // namespace genkern
