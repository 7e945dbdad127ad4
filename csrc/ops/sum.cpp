#include "ops/sum.h"

#include <ATen/ExpandUtils.h>
#include <ATen/ops/empty.h>

#include <algorithm>
#include <numeric>

#include "cpu/chunks.h"
#include "ops/device.h"

namespace genkern {
namespace {

constexpr int64_t kColumns = 4096;  // that a task has; a smaller sum takes its rows, of a chunk of elements in all
constexpr int64_t kFewestRows = 64;
constexpr int kLanes = 16, kTerms = 8;  // partial sums of a row; rows that meet before they are widened

// The sum of n numbers that lie side by side: in their type within 512 of them, in double beyond.
template <class T>
double row_sum(const T* x, int64_t n) {
  double total = 0.0;
  for (int64_t first = 0; first < n; first += 512) {
    const int64_t last = least(first + 512, n), whole = last - (last - first) % kLanes;
    T lanes[kLanes] = {};
    for (int64_t i = first; i < whole; i += kLanes)
      for (int k = 0; k < kLanes; ++k) lanes[k] += x[i + k];
    for (int64_t i = whole; i < last; ++i) lanes[i - whole] += x[i];
    for (int step = kLanes / 2; step > 0; step /= 2)
      for (int k = 0; k < step; ++k) lanes[k] += lanes[k + step];
    total += static_cast<double>(lanes[0]);
  }
  return total;
}

// sums[i] = the sum over n rows, `apart` apart, of their element i < columns.
template <class T>
void column_sums(const T* x, int64_t n, int64_t apart, int64_t columns, double* sums) {
  std::fill(sums, sums + columns, 0.0);
  int64_t row = 0;
  for (; row + kTerms <= n; row += kTerms, x += kTerms * apart)
    for (int64_t i = 0; i < columns; ++i) {
      T terms = x[i];
      for (int k = 1; k < kTerms; ++k) terms += x[k * apart + i];
      sums[i] += static_cast<double>(terms);
    }
  for (; row < n; ++row, x += apart)
    for (int64_t i = 0; i < columns; ++i) sums[i] += static_cast<double>(x[i]);
}

// [outer, n, inner] -> [outer, inner], in tasks and parts that follow from these numbers alone.
template <class T>
at::Tensor sum_middle(const T* x, int64_t outer, int64_t n, int64_t inner) {
  const auto options = at::TensorOptions().dtype(at::kDouble);
  const int64_t rows = std::max(kFewestRows, kChunk / std::max<int64_t>(inner, 1)), parts = (n + rows - 1) / rows;
  const int64_t blocks = (inner + kColumns - 1) / kColumns;
  const at::Tensor sums = at::empty({outer, parts, inner}, options);
  double* to = sums.mutable_data_ptr<double>();
  const auto work = [=](int64_t begin, int64_t end) {
    for (int64_t task = begin; task < end; ++task) {
      const int64_t place = task / blocks, column = task % blocks * kColumns;  // place: of a part of an outer one
      const int64_t first = place % parts * rows, count = least(rows, n - first);
      const T* from = x + (place / parts * n + first) * inner + column;
      if (inner == 1) {
        to[place] = row_sum(from, count);
      } else {
        column_sums(from, count, inner, least(kColumns, inner - column), to + place * inner + column);
      }
    }
  };
  const int64_t each = std::max<int64_t>(1, least(n, rows) * least(inner, kColumns));
  cpu_parallel().run(
      outer * parts * blocks, std::max<int64_t>(1, 2 * kChunk / each),
      [](void* w, int64_t begin, int64_t end) { (*static_cast<decltype(&work)>(w))(begin, end); },
      const_cast<void*>(static_cast<const void*>(&work)));
  return parts == 1 ? sums : sum_middle(to, outer, parts, inner);
}

// A group of dimensions that follow one another in memory and are all summed over or all kept.
struct Group {
  int64_t size;
  bool summed;
};

}  // namespace

void sum_into(const at::Tensor& target, const at::Tensor& source) {
  if (target.sizes() == source.sizes() || source.numel() == 0 || !source.is_cpu()) {
    // On a GPU torch's order is that of the shapes.
    target.copy_(target.sizes() == source.sizes() ? source : at::sum_to(source, target.sizes()));
    return;
  }
  const int64_t ndim = source.dim(), missing = ndim - target.dim();
  at::DimVector order(ndim);
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(),
                   [&](int64_t a, int64_t b) { return source.stride(a) > source.stride(b); });
  at::Tensor values = source.permute(order).contiguous();

  c10::SmallVector<Group, 6> groups;
  at::DimVector kept(ndim, 1), back(ndim);
  for (int64_t i = 0; i < ndim; ++i) {
    const int64_t d = order[i], size = source.size(d);
    const bool summed = d < missing || target.size(d - missing) != size;
    back[d] = i;
    if (!summed) kept[i] = size;
    if (size == 1) continue;
    if (!groups.empty() && groups.back().summed == summed) {
      groups.back().size *= size;
    } else {
      groups.push_back({size, summed});
    }
  }
  int64_t inner = 1;
  for (size_t g = groups.size(); g-- > 0;) {
    if (!groups[g].summed) {
      inner *= groups[g].size;
      continue;
    }
    int64_t outer = 1;
    for (size_t before = 0; before < g; ++before) outer *= groups[before].size;
    values = values.scalar_type() == at::kDouble
                 ? sum_middle(values.const_data_ptr<double>(), outer, groups[g].size, inner)
                 : sum_middle(values.const_data_ptr<float>(), outer, groups[g].size, inner);
  }
  target.copy_(values.view(kept).permute(back).reshape(target.sizes()));
}

}  // namespace genkern
