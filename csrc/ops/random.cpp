// Keys and noise.
#include "ops/random.h"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/ops/empty.h>

#include <mutex>

#include "ops/arguments.h"
#include "ops/device.h"
#ifdef GENKERN_WITH_CUDA
#include "ops/cuda/context.h"
#endif

namespace genkern {
namespace {

at::TensorOptions key_options(const at::Device& device) {
  return at::TensorOptions().dtype(at::kUInt64).device(device);
}

}  // namespace

void check_key(const Tensor& key, const at::Device& device) {
  GK_REQUIRE(key.defined() && key.scalar_type() == at::kUInt64);
  GK_REQUIRE(key.is_cpu() || key.device() == device);
  GK_REQUIRE(key.dim() == 1 && key.size(0) == 2);
}

KeySource key_source(const Tensor& key) {
  const auto* data = key.const_data_ptr<uint64_t>();
  KeySource source;
  if (key.is_cpu()) {
    source.value = {data[0], data[key.stride(0)]};
  } else {
    source.seed = data;
    source.offset = data + key.stride(0);
  }
  return source;
}

Reserved reserve(const Generator& generator, const at::Device& device) {
  const at::Device from = generator && generator->defined() ? generator->device() : device;
  Reserved reserved;
#ifdef GENKERN_WITH_CUDA
  if (from.is_cuda() && device.is_cuda()) {
    reserved.source = cuda::generator_slot(generator, device.index());
    reserved.key = at::empty({2}, key_options(device));
    reserved.source.out = reserved.key.mutable_data_ptr<uint64_t>();
    return reserved;
  }
#endif
  TORCH_CHECK_VALUE(from.is_cpu(), "generator: expected device ", device.is_cpu() ? "" : "cpu or ", device, ", got ",
                    from);
  auto* g = at::get_generator_or_default<at::CPUGeneratorImpl>(generator, at::detail::getDefaultCPUGenerator());
  const std::lock_guard<std::mutex> lock(g->mutex_);
  reserved.source.value = fold(g->random64(), 0);
  reserved.key = at::empty({2}, key_options(at::kCPU));
  store_key(reserved.key.mutable_data_ptr<uint64_t>(), reserved.source.value);
  return reserved;
}

Tensor draw_key(KeySource& source, const Generator& generator, const Tensor& sample) {
  Reserved reserved = reserve(generator, sample.device());
  source = reserved.source;
  if (sample.numel() == 0 && source.out) reserved.key.zero_();  // no launch may come that would write it
  return reserved.key;
}

Tensor readable(const Tensor& eps, at::ScalarType type) {
  return eps.defined() && eps.scalar_type() == at::kDouble ? eps.to(type) : eps;
}

EpsGradient::EpsGradient(const Tensor& target, at::ScalarType type, bool dense) : target_(target), made_(target) {
  if (!target.defined()) return;
  const bool wider = target.scalar_type() == at::kDouble && type != at::kDouble;
  if (wider || (dense && !target.is_contiguous()))
    made_ = at::empty(target.sizes(), target.options().dtype(wider ? type : target.scalar_type()));
}

void check_noise(const NoiseOrigin& noise, int64_t element_offset, const Tensor& first, at::IntArrayRef shape) {
  const auto& [key, eps, drawn, generator] = noise;
  GK_REQUIRE(element_offset >= 0);
  check_tensors({first, eps});
  GK_REQUIRE(drawn || key.defined() != eps.defined());
  GK_REQUIRE(!eps.defined() || eps.sizes() == shape);
  if (key.defined()) check_key(key, first.device());
}

namespace {

Tensor split_keys(const Tensor& key, int64_t first, int64_t count, at::IntArrayRef shape) {
  check_key(key, key.device());
  Tensor keys = at::empty(shape, key_options(key.device()));
  KeySplit a{key_source(key), static_cast<uint64_t>(first), count, keys.mutable_data_ptr<uint64_t>()};
  if (count) Device(key.device()).run(&Kernels::key_split, a);
  return keys;
}

Tensor key_split(const Tensor& key, int64_t num) {
  GK_REQUIRE(num >= 0);
  return split_keys(key, 0, num, {num, 2});
}

Tensor key_fold_in(const Tensor& key, int64_t data) {
  GK_REQUIRE(data >= 0);
  return split_keys(key, data, 1, {2});
}

Tensor key_reserve(const Generator& generator) { return reserve(generator, at::kCPU).key; }

#ifdef GENKERN_WITH_CUDA
// A key reserved by itself, not as part of a sampling launch.
Tensor key_reserve_cuda(const Generator& generator, at::Device device) {
  if (!device.has_index()) device = at::empty({0}, at::TensorOptions().device(device)).device();
  const Reserved reserved = reserve(generator, device);
  if (reserved.source.out) Device(device).run(&Kernels::key_split, KeySplit{reserved.source, 0, 0, nullptr});
  return reserved.key;
}
#endif

Tensor fill(Distribution distribution, const Tensor& key, at::IntArrayRef shape, at::ScalarType dtype,
            int64_t element_offset, at::Device device) {
  GK_REQUIRE(element_offset >= 0);
  Tensor result = at::empty(shape, at::TensorOptions().dtype(dtype).device(device));
  check_tensors({result});
  check_key(key, result.device());
  const RandomFill a{distribution,      key_source(key),      static_cast<uint64_t>(element_offset),
                     result.data_ptr(), storage_type(result), result.numel()};
  if (a.numel) Device(result.device()).run(&Kernels::random_fill, a);
  return result;
}

Tensor random_normal(const Tensor& key, at::IntArrayRef shape, at::ScalarType dtype, int64_t element_offset,
                     at::Device device) {
  return fill(Distribution::normal, key, shape, dtype, element_offset, device);
}

Tensor random_uniform(const Tensor& key, at::IntArrayRef shape, at::ScalarType dtype, int64_t element_offset,
                      at::Device device) {
  return fill(Distribution::uniform, key, shape, dtype, element_offset, device);
}

}  // namespace

GENKERN_OPS(m) {
  m.impl("key_split", TORCH_FN(key_split));
  m.impl("key_fold_in", TORCH_FN(key_fold_in));
  m.impl("random_normal", TORCH_FN(random_normal));
  m.impl("random_uniform", TORCH_FN(random_uniform));
}

// They have no tensor argument that would say where they run.
TORCH_LIBRARY_IMPL(genkern, CompositeExplicitAutograd, m) {
  m.impl("key_reserve", TORCH_FN(key_reserve));
#ifdef GENKERN_WITH_CUDA
  m.impl("key_reserve_cuda", TORCH_FN(key_reserve_cuda));
#endif
}

}  // namespace genkern
