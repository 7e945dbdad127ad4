#include "ops/common.h"

#include <ATen/ExpandUtils.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>

namespace genkern {

namespace {

constexpr double kLn2 = 0.69314718055994530941723212145818;

}  // namespace

void check_tensors(at::ArrayRef<Tensor> tensors, bool of_counts) {
  for (const Tensor& tensor : tensors) {
    if (!tensor.defined()) continue;
    const auto type = tensor.scalar_type();
    const bool counts = of_counts && &tensor == tensors.begin();
    GK_REQUIRE(type == at::kDouble || type == at::kFloat || type == at::kBFloat16 || type == at::kHalf ||
               (counts && (type == at::kShort || type == at::kInt || type == at::kLong)));
    GK_REQUIRE(tensor.device() == tensors[0].device());
  }
}

at::DimVector broadcast(at::ArrayRef<Tensor> tensors, bool of_counts) {
  check_tensors(tensors, of_counts);
  at::DimVector shape(tensors[0].sizes());
  for (const Tensor& tensor : tensors)
    if (tensor.defined() && tensor.sizes() != at::IntArrayRef(shape))
      shape = at::infer_size_dimvector(shape, tensor.sizes());
  return shape;
}

ScaleOptions parse_scale(std::string_view param, double offset, std::optional<double> lo, std::optional<double> hi,
                         std::string_view mode) {
  static constexpr std::pair<const char*, ScaleParam> params[] = {{"logvar", ScaleParam::logvar},
                                                                  {"logstd", ScaleParam::logstd},
                                                                  {"std", ScaleParam::std},
                                                                  {"var", ScaleParam::var},
                                                                  {"softplus", ScaleParam::softplus}};
  static constexpr std::pair<const char*, ClampMode> modes[] = {{"hard", ClampMode::hard},
                                                                {"straight_through", ClampMode::straight_through},
                                                                {"softclip", ClampMode::softclip},
                                                                {"tanh", ClampMode::tanh}};
  constexpr double inf = std::numeric_limits<double>::infinity();
  ScaleOptions options{choose(param, params), choose(mode, modes), offset, lo.value_or(-inf), hi.value_or(inf)};
  GK_REQUIRE(!lo || !hi || *lo <= *hi);
  GK_REQUIRE(options.clamp != ClampMode::softclip || !hi);
  GK_REQUIRE(options.clamp != ClampMode::tanh || (!lo && !hi) || (lo && hi && *lo == -*hi && *hi > 0));
  if (!lo && !hi) options.clamp = ClampMode::none;
  return options;
}

Reduce::Reduce(std::string_view reduction, std::string_view units, std::optional<int64_t> event,
               at::IntArrayRef shape) {
  enum Kind { each, by_event, all, average, per_batch };
  static constexpr std::pair<const char*, Kind> kinds[] = {
      {"event", by_event}, {"none", each}, {"sum", all}, {"mean", average}, {"batchmean", per_batch}};
  enum Unit { nats, bits, bits_per_dim };
  static constexpr std::pair<const char*, Unit> unit_names[] = {
      {"nats", nats}, {"bits", bits}, {"bits_per_dim", bits_per_dim}};
  const Kind how = choose(reduction, kinds);
  const Unit unit = choose(units, unit_names);
  const int64_t ndim = static_cast<int64_t>(shape.size());
  event_ndim = event.value_or(std::max<int64_t>(ndim - 1, 0));
  GK_REQUIRE(event_ndim >= 0 && event_ndim <= ndim);
  double rows = 1, columns = 1;
  for (int64_t d = 0; d < ndim; ++d) (d < ndim - event_ndim ? rows : columns) *= static_cast<double>(shape[d]);
  kind = how == each ? Reduction::none : how == by_event ? Reduction::event : Reduction::total;
  nats_per_unit = unit == nats ? 1.0 : kLn2;
  factor = 1.0 / nats_per_unit;
  if (how == average) factor /= rows * columns;
  if (how == per_batch) factor /= rows;
  if (unit == bits_per_dim && how != each && how != average) factor /= columns;
  if (kind == Reduction::none) {
    result_shape.assign(shape.begin(), shape.end());
  } else if (kind == Reduction::event) {
    result_shape.assign(shape.begin(), shape.end() - event_ndim);
  }
}

Tensor empty_of(const Tensor& like, at::IntArrayRef shape, at::ScalarType dtype) {
  const auto options = like.options().dtype(dtype);
  return like.sizes() == shape ? at::empty_like(like, options) : at::empty(shape, options);
}

Tensor empty_result(const Reduce& reduce, const Tensor& like, at::ScalarType dtype) {
  if (reduce.kind == Reduction::none) return empty_of(like, reduce.result_shape, dtype);
  return at::empty(reduce.result_shape, like.options().dtype(dtype));
}

at::ScalarType compute_type(at::ArrayRef<Tensor> tensors) {
  const auto wide = [](const Tensor& t) { return t.defined() && t.scalar_type() == at::kDouble; };
  return std::any_of(tensors.begin(), tensors.end(), wide) ? at::kDouble : at::kFloat;
}

Tensor wanted(const Tensor& argument, int64_t mask, int i) {
  return mask >> i & 1 && argument.defined() ? at::empty_like(argument) : Tensor();
}

Tensor expand_grad(const Tensor& grad, const Reduce& reduce, at::IntArrayRef shape) {
  GK_REQUIRE(grad.defined());
  if (reduce.kind != Reduction::event) return grad;  // a 0-dim one broadcasts as it is
  return trailing_ones(grad, static_cast<int64_t>(shape.size()));
}

}  // namespace genkern
