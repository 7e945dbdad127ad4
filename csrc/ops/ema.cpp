// Exponential moving averages of many tensors: checks, what does not lie dense, launch.
#include <ATen/ops/empty_like.h>

#include <vector>

#include "ops/arguments.h"
#include "ops/device.h"

namespace genkern::ema_op {

void check(at::TensorList ema_params, at::TensorList params, double decay) {
  GK_REQUIRE(params.size() == ema_params.size() && decay >= 0 && decay <= 1);
  for (size_t i = 0; i < params.size(); ++i) {
    check_tensors({ema_params[0], ema_params[i], params[i]});
    GK_REQUIRE(params[i].sizes() == ema_params[i].sizes());
  }
}

// The tensors of a launch; copies of those that are not dense, or not alike, live as long as this.
class Pairs {
 public:
  void add(const Tensor& average, const Tensor& value) {
    const bool dense = average.is_non_overlapping_and_dense();
    const Tensor kept = dense ? average : average.contiguous();
    Tensor alike = value;
    if (value.strides() != kept.strides()) {
      alike = at::empty_like(kept, value.options());
      alike.copy_(value);
    }
    if (!dense) back_.emplace_back(average, kept);
    copies_.push_back(alike);
    tensors_.push_back(
        {kept.mutable_data_ptr(), alike.const_data_ptr(), kept.numel(), storage_type(kept), storage_type(alike)});
  }
  void update(double decay, bool wide, const at::Device& on) {
    if (tensors_.empty()) return;
    const EmaUpdate a{tensors_.data(), static_cast<int64_t>(tensors_.size()), 1.0 - decay, wide};
    Device(on).run(&Kernels::ema_update, a);
    for (const auto& [average, kept] : back_) average.copy_(kept);
  }

 private:
  std::vector<EmaTensor> tensors_;
  std::vector<Tensor> copies_;
  std::vector<std::pair<Tensor, Tensor>> back_;
};

void ema_update_(at::TensorList ema_params, at::TensorList params, double decay) {
  check(ema_params, params, decay);
  Pairs narrow, wide;
  for (size_t i = 0; i < params.size(); ++i) {
    if (params[i].numel() == 0) continue;
    const bool in_double = compute_type({ema_params[i], params[i]}) == at::kDouble;
    (in_double ? wide : narrow).add(ema_params[i], params[i]);
  }
  if (ema_params.empty()) return;
  narrow.update(decay, false, ema_params[0].device());
  wide.update(decay, true, ema_params[0].device());
  for (const Tensor& average : ema_params)
    if (!average.is_inference()) average.unsafeGetTensorImpl()->bump_version();
}

GENKERN_OPS(m) { m.impl("ema_update_", TORCH_FN(ema_update_)); }

}  // namespace genkern::ema_op
