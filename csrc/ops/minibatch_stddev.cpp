// Standard deviations over groups of a batch: checks, allocation, launch.
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/zeros.h>

#include <limits>

#include "ops/arguments.h"
#include "ops/device.h"

namespace genkern::minibatch_stddev_op {

constexpr double kEps = 1e-8;  // as the authors of StyleGAN have it

// Sample n is a member of group n mod groups.
struct Batch {
  Tensor given, x;  // as it came, and contiguous
  int64_t features, size, channels, elements, groups, members;

  explicit Batch(Arguments& a) {
    given = a.tensor();
    const auto group_size = a.integer_or_none();
    features = a.integer();
    check_tensors({given});
    GK_REQUIRE(given.dim() >= 2 && (!group_size || *group_size >= 1));
    GK_REQUIRE(features >= 1 && given.size(1) % features == 0);
    x = given.contiguous();
    size = x.size(0);
    channels = x.size(1);
    elements = c10::multiply_integers(x.sizes().slice(2));
    const int64_t most = group_size.value_or(std::max<int64_t>(size, 1));
    groups = size / most + (size % most != 0);
    members = groups ? (size + groups - 1) / groups : 0;
  }

  at::ScalarType type() const { return compute_type({x}); }
  int64_t length() const { return channels / features * elements; }
  // Groups are rows; each feature is a row or a run of its own.
  void fill(MinibatchStddev& a, bool by_runs) const {
    a.wide = type() == at::kDouble;
    a.members = members;
    a.member = groups * channels * elements;
    a.numel = x.numel();
    a.eps = kEps;
    a.extent = {by_runs ? groups : groups * features, by_runs ? features : 1, length()};
    a.x = operand(x, by_runs ? channels * elements : length());
  }
  Operand operand(const Tensor& t, int64_t row) const { return {t.data_ptr(), storage_type(t), row, length(), 1}; }
  at::DimVector result_shape() const {
    at::DimVector shape(x.sizes().begin(), x.sizes().end());
    shape[1] += features;
    return shape;
  }
};

Tensors minibatch_stddev(Arguments& arguments) {
  const Batch batch(arguments);
  const Tensor& x = batch.given;
  const Tensor stddev = at::empty({batch.groups, batch.features}, x.options().dtype(batch.type()));
  if (batch.length() == 0) stddev.fill_(std::numeric_limits<double>::quiet_NaN());
  MinibatchStddevForward a;
  batch.fill(a, false);
  a.loss.reduction = Reduction::event;
  a.loss.factor = 1.0 / static_cast<double>(batch.length());
  a.loss.out.data = stddev.data_ptr();
  Device(x.device()).run(&Kernels::minibatch_stddev_forward, a);

  const Tensor result = at::empty(batch.result_shape(), x.options());
  result.narrow(1, 0, batch.channels).copy_(x);
  at::DimVector sizes(x.dim(), 1);
  sizes[0] = batch.size;
  sizes[1] = batch.features;
  const Tensor by_sample = stddev.repeat({batch.members, 1}).narrow(0, 0, batch.size);
  result.narrow(1, batch.channels, batch.features).copy_(by_sample.view(sizes));
  return {result};
}

Tensors minibatch_stddev_backward(Arguments& arguments) {
  const Tensor grad = arguments.tensor();
  GK_REQUIRE(grad.defined());
  const Batch batch(arguments);
  const Tensor& x = batch.given;
  const int64_t mask = arguments.integer();
  const Tensor d_x = wanted(x, mask, 0);
  if (!d_x.defined() || x.numel() == 0) return {d_x};
  const Tensor upstream = grad.contiguous();
  const Tensor appended = upstream.narrow(1, batch.channels, batch.features).to(batch.type());
  const Tensor sums = at::zeros({batch.members, batch.groups, batch.features}, appended.options());
  sum_into(sums.view({-1, batch.features, 1}).narrow(0, 0, batch.size),
           appended.reshape({batch.size, batch.features, batch.elements}));
  const Tensor by_group = at::empty({batch.groups, batch.features}, appended.options());
  sum_into(by_group, sums);
  const Tensor made = d_x.is_contiguous() ? d_x : at::empty(x.sizes(), x.options());

  MinibatchStddevBackward a;
  batch.fill(a, true);
  a.grad = {by_group.data_ptr(), storage_type(by_group), batch.features, 1, 0};
  const int64_t upstream_row = (batch.channels + batch.features) * batch.elements;
  a.upstream = batch.operand(upstream, upstream_row);
  a.upstream_member = batch.groups * upstream_row;
  a.factor = 1.0 / static_cast<double>(batch.length());
  a.d_x = batch.operand(made, batch.channels * batch.elements);
  Device(x.device()).run(&Kernels::minibatch_stddev_backward, a);
  if (!made.is_same(d_x)) d_x.copy_(made);
  return {d_x};
}

GENKERN_OPS(m) { implement<minibatch_stddev, minibatch_stddev_backward>(m, "minibatch_stddev"); }

}  // namespace genkern::minibatch_stddev_op
