#include "ops/common.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>

namespace genkern {

namespace {

constexpr double kLn2 = 0.69314718055994530941723212145818;

}  // namespace

std::string shape_text(at::IntArrayRef shape) {
  std::string text = "(";
  for (size_t d = 0; d < shape.size(); ++d) text += (d ? ", " : "") + std::to_string(shape[d]);
  return text + (shape.size() == 1 ? ",)" : ")");
}

void check_tensor(const char* name, const Tensor& tensor, const Tensor& first, const char* first_name, bool optional) {
  if (!tensor.defined()) {
    TORCH_CHECK_TYPE(optional, name, ": expected a Tensor, got None");
    return;
  }
  const auto type = tensor.scalar_type();
  TORCH_CHECK_TYPE(type == at::kDouble || type == at::kFloat || type == at::kBFloat16 || type == at::kHalf, name,
                   ": expected a floating dtype (float64, float32, bfloat16 or float16), got ", type);
  TORCH_CHECK_VALUE(tensor.device() == first.device(), name, ": expected device ", first.device(), " as ", first_name,
                    ", got ", tensor.device());
}

at::DimVector broadcast(std::initializer_list<std::pair<const char*, const Tensor*>> tensors) {
  at::DimVector shape;
  std::string described;
  bool any = false;
  for (const auto& [name, tensor] : tensors) {
    if (!tensor->defined()) continue;
    const auto sizes = tensor->sizes();
    if (any && sizes != at::IntArrayRef(shape)) {
      const size_t ndim = std::max(shape.size(), sizes.size());
      at::DimVector joint(ndim);
      for (size_t d = 0; d < ndim; ++d) {
        const int64_t a = d < shape.size() ? shape[shape.size() - 1 - d] : 1;
        const int64_t b = d < sizes.size() ? sizes[sizes.size() - 1 - d] : 1;
        if (a != b && a != 1 && b != 1) {
          std::string before;
          for (const auto& [other, t] : tensors) {
            if (t == tensor) break;
            if (t->defined())
              before += (before.empty() ? "" : ", ") + std::string(other) + " " + shape_text(t->sizes());
          }
          TORCH_CHECK_VALUE(false, name, ": expected a shape that broadcasts with ", before, ", got ",
                            shape_text(sizes));
        }
        joint[ndim - 1 - d] = a == 1 ? b : a;
      }
      shape = joint;
    } else if (!any) {
      shape.assign(sizes.begin(), sizes.end());
      any = true;
    }
  }
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
  ScaleOptions options{choose("scale_param", param, params), choose("clamp_mode", mode, modes), offset,
                       lo.value_or(-inf), hi.value_or(inf)};
  TORCH_CHECK_VALUE(!lo || !hi || *lo <= *hi, "clamp: expected lo <= hi, got (", options.lo, ", ", options.hi, ")");
  TORCH_CHECK_VALUE(options.clamp != ClampMode::softclip || !hi,
                    "clamp: expected (lo, None) for clamp_mode 'softclip', got (", options.lo, ", ", options.hi, ")");
  TORCH_CHECK_VALUE(options.clamp != ClampMode::tanh || (!lo && !hi) || (lo && hi && *lo == -*hi && *hi > 0),
                    "clamp: expected (-c, c) for clamp_mode 'tanh', got (", options.lo, ", ", options.hi, ")");
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
  const Kind how = choose("reduction", reduction, kinds);
  const Unit unit = choose("units", units, unit_names);
  const int64_t ndim = static_cast<int64_t>(shape.size());
  event_ndim = event.value_or(std::max<int64_t>(ndim - 1, 0));
  TORCH_CHECK_VALUE(event_ndim >= 0, "event_ndim: expected an int >= 0, got ", event_ndim);
  TORCH_CHECK_VALUE(event_ndim <= ndim, "event_ndim: expected at most ", ndim, ", the number of dimensions, got ",
                    event_ndim);
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

at::ScalarType compute_type(std::initializer_list<const Tensor*> tensors) {
  for (const Tensor* t : tensors)
    if (t->defined() && t->scalar_type() == at::kDouble) return at::kDouble;
  return at::kFloat;
}

Tensor wanted(const Tensor& argument, int64_t mask, int i) {
  return mask >> i & 1 && argument.defined() ? at::empty_like(argument) : Tensor();
}

Tensor expand_grad(const Tensor& grad, const Reduce& reduce, at::IntArrayRef shape) {
  TORCH_CHECK_TYPE(grad.defined(), "grad_0: expected a Tensor, got None");
  if (reduce.kind != Reduction::event) return grad;  // a 0-dim one broadcasts as it is
  return trailing_ones(grad, static_cast<int64_t>(shape.size()));
}

}  // namespace genkern
