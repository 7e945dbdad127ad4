// Keys and noise.
#include "ops/random.h"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/ops/empty.h>
#include <torch/library.h>

#include <mutex>

#include "cpu/dispatch.h"
#include "ops/common.h"

namespace genkern {

void check_key(const Tensor& key) {
  TORCH_CHECK_TYPE(key.defined(), "key: expected a uint64 Tensor of shape (2,), got None");
  TORCH_CHECK_TYPE(key.scalar_type() == at::kUInt64, "key: expected dtype torch.uint64, got ", key.scalar_type());
  TORCH_CHECK_VALUE(key.is_cpu(), "key: expected device cpu, got ", key.device());
  TORCH_CHECK_VALUE(key.dim() == 1 && key.size(0) == 2, "key: expected shape (2,), got ", key.sizes());
}

Key read_key(const Tensor& key) {
  const auto* data = key.const_data_ptr<uint64_t>();
  return {data[0], data[key.stride(0)]};
}

namespace {

Tensor key_tensor(at::IntArrayRef shape) { return at::empty(shape, at::TensorOptions().dtype(at::kUInt64)); }

void write_key(uint64_t* to, Key key) {
  to[0] = key.seed;
  to[1] = key.offset;
}

Tensor key_split(const Tensor& key, int64_t num) {
  check_key(key);
  TORCH_CHECK_VALUE(num >= 0, "num: expected an int >= 0, got ", num);
  Tensor keys = key_tensor({num, 2});
  for (int64_t i = 0; i < num; ++i) write_key(keys.mutable_data_ptr<uint64_t>() + 2 * i, split(read_key(key), i));
  return keys;
}

Tensor key_fold_in(const Tensor& key, int64_t data) {
  check_key(key);
  TORCH_CHECK_VALUE(data >= 0, "data: expected an int >= 0, got ", data);
  Tensor result = key_tensor({2});
  write_key(result.mutable_data_ptr<uint64_t>(), split(read_key(key), data));
  return result;
}

// One 64-bit draw from a CPU generator.
Tensor key_reserve(const std::optional<at::Generator>& generator) {
  auto* g = at::get_generator_or_default<at::CPUGeneratorImpl>(generator, at::detail::getDefaultCPUGenerator());
  const std::lock_guard<std::mutex> lock(g->mutex_);
  Tensor key = key_tensor({2});
  write_key(key.mutable_data_ptr<uint64_t>(), fold(g->random64(), 0));
  return key;
}

Tensor fill(Distribution distribution, const Tensor& key, at::IntArrayRef shape, at::ScalarType dtype,
            int64_t element_offset, at::Device device) {
  check_key(key);
  TORCH_CHECK_TYPE(dtype == at::kDouble || dtype == at::kFloat || dtype == at::kBFloat16 || dtype == at::kHalf,
                   "dtype: expected float64, float32, bfloat16 or float16, got ", dtype);
  TORCH_CHECK_VALUE(element_offset >= 0, "element_offset: expected an int >= 0, got ", element_offset);
  for (const int64_t size : shape) TORCH_CHECK_VALUE(size >= 0, "shape: expected an int >= 0, got ", size);
  Tensor result = at::empty(shape, at::TensorOptions().dtype(dtype).device(device));
  TORCH_CHECK_VALUE(result.is_cpu(), "device: expected that of the key, cpu, got ", result.device());
  cpu_kernels().random_fill({distribution, read_key(key), static_cast<uint64_t>(element_offset), result.data_ptr(),
                             storage_type(result), result.numel()},
                            parallel());
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

TORCH_LIBRARY_IMPL(genkern, CPU, m) {
  m.impl("key_split", TORCH_FN(key_split));
  m.impl("key_fold_in", TORCH_FN(key_fold_in));
  m.impl("random_normal", TORCH_FN(random_normal));
  m.impl("random_uniform", TORCH_FN(random_uniform));
}

// It has no tensor argument that would say where it runs.
TORCH_LIBRARY_IMPL(genkern, CompositeExplicitAutograd, m) { m.impl("key_reserve", TORCH_FN(key_reserve)); }

}  // namespace genkern
