// Discrete distributions: checks, allocation, launch.
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <torch/library.h>

#include "ops/device.h"
#include "ops/options.h"

namespace genkern {
namespace {

// The shape that the tensors of an operation share, the dimension of its classes, and what remains without it.
struct ClassShape {
  at::DimVector full, rest;
  int64_t dim;

  ClassShape(const char* name, at::IntArrayRef shape, int64_t given) : full(shape.begin(), shape.end()) {
    const auto ndim = static_cast<int64_t>(shape.size());
    TORCH_CHECK_VALUE(given >= -ndim && given < ndim, "dim: expected a dimension of ", name, " ", shape_text(shape),
                      ", got ", given);
    dim = given < 0 ? given + ndim : given;
    TORCH_CHECK_VALUE(shape[dim] > 0, name, ": expected at least 1 class along dimension ", given, ", got ",
                      shape_text(shape));
    for (int64_t d = 0; d < ndim; ++d)
      if (d != dim) rest.push_back(shape[d]);
  }
  int64_t classes() const { return full[dim]; }
  int64_t inner() const { return c10::multiply_integers(full.begin() + dim + 1, full.end()); }
};

// The operands of a launch, those with classes beside those of a layout without them. Where no strides serve them as
// they lie, all are copied: classes last, dense.
class ClassLayout {
 public:
  ClassLayout(const ClassShape& shape, int64_t event_ndim, bool any_order)
      : shape_(shape), event_ndim_(event_ndim), any_order_(any_order) {}

  void in(ClassOperand& operand, const Tensor& tensor) {
    if (tensor.defined()) slots_.push_back({&operand, tensor.expand(shape_.full), {}});
  }
  void out(ClassOperand& operand, const Tensor& tensor) { slots_.push_back({&operand, tensor, tensor}); }
  // Of an argument that was broadcast; undefined: absent.
  void gradient(ClassOperand& operand, const Tensor& tensor) {
    if (!tensor.defined()) return;
    const bool whole = tensor.sizes() == at::IntArrayRef(shape_.full);
    const auto options = tensor.options().dtype(arithmetic(slots_));
    slots_.push_back({&operand, whole ? tensor : at::empty(shape_.full, options), tensor});
  }
  void loss_gradient(Operand& operand, const Tensor& grad) {
    grad_operand_ = &operand;
    grad_ = grad;
  }
  void loss(Operand& operand, const Tensor& elements) {
    loss_operand_ = &operand;
    loss_ = elements;
  }

  Extent resolve() {
    Layout layout = make();
    if (!layout.fits()) {
      for (Slot& s : slots_) {
        const Tensor last = s.tensor.movedim(shape_.dim, -1);
        const Tensor dense = s.target.defined() ? at::empty(last.sizes(), last.options()) : last.contiguous();
        s.tensor = dense.movedim(-1, shape_.dim);
      }
      if (grad_.defined()) grad_ = grad_.expand(shape_.rest).contiguous();
      layout = make();
      TORCH_INTERNAL_ASSERT(layout.fits());
    }
    for (Slot& s : slots_) s.operand->each = s.tensor.stride(shape_.dim);
    return layout.resolve();
  }
  void finish() {
    for (Slot& s : slots_)
      if (s.target.defined() && !s.target.is_same(s.tensor)) sum_into(s.target, s.tensor);
  }

 private:
  struct Slot {
    ClassOperand* operand;
    Tensor tensor;  // what the kernel uses
    Tensor target;  // of an output: where it goes in the end
  };
  const ClassShape& shape_;
  int64_t event_ndim_;
  bool any_order_;
  c10::SmallVector<Slot, 6> slots_;
  Operand *grad_operand_ = nullptr, *loss_operand_ = nullptr;
  Tensor grad_, loss_;

  Layout make() const {
    Layout layout(shape_.rest, event_ndim_, any_order_);
    for (const Slot& s : slots_) layout.in(*s.operand, s.tensor.select(shape_.dim, 0));
    if (grad_operand_) layout.in(*grad_operand_, grad_);
    if (loss_operand_) layout.in(*loss_operand_, loss_);
    return layout;
  }
};

// A loss over the elements that remain without the classes.
struct ClassLoss {
  ClassShape shape;
  Reduce reduce;
  at::ScalarType type;

  ClassLoss(const char* name, at::IntArrayRef full, int64_t dim, const ReduceOptions& options, at::ScalarType type)
      : shape(name, full, dim), reduce(options.reduction, options.units, options.event_ndim, shape.rest), type(type) {}

  void fill(Classes& a) const {
    a.wide = type == at::kDouble;
    a.classes = shape.classes();
  }
  ClassLayout layout() const { return {shape, reduce.event_ndim, true}; }

  template <class A>
  Tensor forward(A& a, ClassLayout& layout, const Tensor& like,
                 Status (*Kernels::*kernel)(const A&, const Launch&)) const {
    Loss& loss = a.value;
    loss.reduction = reduce.kind;
    loss.factor = reduce.factor;
    const Tensor result = at::empty(reduce.result_shape, like.options().dtype(type));
    if (reduce.kind == Reduction::none) {
      layout.loss(loss.out, result);
    } else {
      loss.out.data = result.data_ptr();
      loss.out.dtype = storage_type(result);
      if (c10::multiply_integers(shape.rest) == 0) result.fill_(0.0 * reduce.factor);
    }
    a.extent = layout.resolve();
    Device(like.device()).run(kernel, a, a.extent, loss.reduction, 1);
    return result;
  }

  template <class A>
  void backward(A& a, ClassLayout& layout, const OptionalTensor& grad, const Tensor& like,
                Status (*Kernels::*kernel)(const A&, const Launch&)) const {
    layout.loss_gradient(a.grad, expand_grad(or_undefined(grad), reduce, shape.rest));
    a.factor = reduce.factor;
    a.extent = layout.resolve();
    Device(like.device()).run(kernel, a);
    layout.finish();
  }
};

ClassLoss masses(const Tensor& p, const Tensor& q, int64_t dim, REDUCE_OPTIONS) {
  check_tensor("p", p, p, "p");
  if (!q.defined()) return {"p", p.sizes(), dim, REDUCE, compute_type({&p})};
  check_tensor("q", q, p, "p");
  return {"p, q", broadcast({{"p", &p}, {"q", &q}}), dim, REDUCE, compute_type({&p, &q})};
}

Tensor discrete(const Tensor& p, const Tensor& q, int64_t dim, REDUCE_OPTIONS) {
  const ClassLoss loss = masses(p, q, dim, REDUCE_VALUES);
  DiscreteForward a;
  loss.fill(a);
  ClassLayout layout = loss.layout();
  layout.in(a.p, p);
  layout.in(a.q, q);
  return loss.forward(a, layout, p, &Kernels::discrete_forward);
}

void discrete_backward(const OptionalTensor& grad, const Tensor& p, const Tensor& q, int64_t dim, REDUCE_OPTIONS,
                       const Tensor& d_p, const Tensor& d_q) {
  const ClassLoss loss = masses(p, q, dim, REDUCE_VALUES);
  DiscreteBackward a;
  loss.fill(a);
  ClassLayout layout = loss.layout();
  layout.in(a.p, p);
  layout.in(a.q, q);
  layout.gradient(a.d_p, d_p);
  layout.gradient(a.d_q, d_q);
  loss.backward(a, layout, grad, p, &Kernels::discrete_backward);
}

Tensor discrete_entropy(const Tensor& p, int64_t dim, REDUCE_OPTIONS) { return discrete(p, {}, dim, REDUCE_VALUES); }

Tensor discrete_entropy_backward(const OptionalTensor& grad, const Tensor& p, int64_t dim, REDUCE_OPTIONS,
                                 int64_t mask) {
  const Tensor d_p = wanted(p, mask, 0);
  discrete_backward(grad, p, {}, dim, REDUCE_VALUES, d_p, {});
  return d_p;
}

Tensor discrete_kl(const Tensor& p, const Tensor& q, int64_t dim, REDUCE_OPTIONS) {
  TORCH_CHECK_TYPE(q.defined(), "q: expected a Tensor, got None");
  return discrete(p, q, dim, REDUCE_VALUES);
}

std::tuple<Tensor, Tensor> discrete_kl_backward(const OptionalTensor& grad, const Tensor& p, const Tensor& q,
                                                int64_t dim, REDUCE_OPTIONS, int64_t mask) {
  const Tensor d_p = wanted(p, mask, 0), d_q = wanted(q, mask, 1);
  discrete_backward(grad, p, q, dim, REDUCE_VALUES, d_p, d_q);
  return {d_p, d_q};
}

Tensor categorical_entropy(const Tensor& logits, int64_t dim, REDUCE_OPTIONS) {
  check_tensor("logits", logits, logits, "logits");
  const ClassLoss loss("logits", logits.sizes(), dim, REDUCE, compute_type({&logits}));
  CategoricalForward a;
  loss.fill(a);
  ClassLayout layout = loss.layout();
  layout.in(a.q, logits);
  return loss.forward(a, layout, logits, &Kernels::categorical_forward);
}

Tensor categorical_entropy_backward(const OptionalTensor& grad, const Tensor& logits, int64_t dim, REDUCE_OPTIONS,
                                    int64_t mask) {
  check_tensor("logits", logits, logits, "logits");
  const ClassLoss loss("logits", logits.sizes(), dim, REDUCE, compute_type({&logits}));
  const Tensor d_logits = wanted(logits, mask, 0);
  CategoricalBackward a;
  loss.fill(a);
  ClassLayout layout = loss.layout();
  layout.in(a.q, logits);
  layout.gradient(a.d_q, d_logits);
  loss.backward(a, layout, grad, logits, &Kernels::categorical_backward);
  return d_logits;
}

ClassLoss pair(const Tensor& q, const Tensor& p, int64_t dim, double unimix, double free_bits, REDUCE_OPTIONS) {
  check_tensor("logits_q", q, q, "logits_q");
  check_tensor("logits_p", p, q, "logits_q", true);
  TORCH_CHECK_VALUE(unimix >= 0 && unimix <= 1, "unimix: expected a number from 0 to 1, got ", unimix);
  TORCH_CHECK_VALUE(free_bits >= 0, "free_bits: expected a number >= 0, got ", free_bits);
  return {p.defined() ? "logits_q, logits_p" : "logits_q", broadcast({{"logits_q", &q}, {"logits_p", &p}}), dim, REDUCE,
          compute_type({&q, &p})};
}

ClassLayout fill(Categorical& a, const ClassLoss& loss, const Tensor& q, const Tensor& p, double unimix,
                 double free_bits) {
  loss.fill(a);
  a.divergence = true;
  a.unimix = unimix;
  a.free_nats = free_bits * loss.reduce.nats_per_unit;
  ClassLayout layout = loss.layout();
  layout.in(a.q, q);
  layout.in(a.p, p);
  return layout;
}

Tensor categorical_kl(const Tensor& logits_q, const OptionalTensor& logits_p, int64_t dim, double unimix,
                      double free_bits, double /*grad_scale_q*/, double /*grad_scale_p*/, REDUCE_OPTIONS) {
  const Tensor p = or_undefined(logits_p);
  const ClassLoss loss = pair(logits_q, p, dim, unimix, free_bits, REDUCE_VALUES);
  CategoricalForward a;
  ClassLayout layout = fill(a, loss, logits_q, p, unimix, free_bits);
  return loss.forward(a, layout, logits_q, &Kernels::categorical_forward);
}

std::tuple<Tensor, Tensor> categorical_kl_backward(const OptionalTensor& grad, const Tensor& logits_q,
                                                   const OptionalTensor& logits_p, int64_t dim, double unimix,
                                                   KL_OPTIONS, REDUCE_OPTIONS, int64_t mask) {
  const Tensor p = or_undefined(logits_p);
  const ClassLoss loss = pair(logits_q, p, dim, unimix, free_bits, REDUCE_VALUES);
  const Tensor d_q = wanted(logits_q, mask, 0), d_p = wanted(p, mask, 1);
  CategoricalBackward a;
  ClassLayout layout = fill(a, loss, logits_q, p, unimix, free_bits);
  a.grad_scale_q = grad_scale_q;
  a.grad_scale_p = grad_scale_p;
  layout.gradient(a.d_q, d_q);
  layout.gradient(a.d_p, d_p);
  loss.backward(a, layout, grad, logits_q, &Kernels::categorical_backward);
  return {d_q, d_p};
}

#define GUMBEL_OPTIONS double tau, bool hard, int64_t dim, int64_t element_offset
#define GUMBEL_VALUES tau, hard, dim, element_offset

// With noise from a key the order of elements is the noise's.
struct Gumbel {
  Tensor logits;
  NoiseOrigin noise;
  double tau;
  bool hard;
  int64_t dim, element_offset;
  ClassShape shape = check();

  ClassLayout fill(GumbelSoftmax& a) const {
    a.wide = compute_type({&logits}) == at::kDouble;
    a.classes = shape.classes();
    a.inner = shape.inner();
    a.tau = tau;
    a.hard = hard;
    a.noise.element_offset = static_cast<uint64_t>(element_offset);
    if (noise.key.defined()) a.noise.key = key_source(noise.key);
    ClassLayout layout(shape, std::max<int64_t>(static_cast<int64_t>(shape.rest.size()) - 1, 0), noise.eps.defined());
    layout.in(a.logits, logits);
    layout.in(a.eps, readable(noise.eps, a.wide ? at::kDouble : at::kFloat));
    return layout;
  }

 private:
  ClassShape check() const {
    check_tensor("logits", logits, logits, "logits");
    TORCH_CHECK_VALUE(tau >= 0, "tau: expected a number >= 0, got ", tau);
    check_noise(noise, element_offset, logits, "logits", logits.sizes());
    return {"logits", logits.sizes(), dim};
  }
};

std::tuple<Tensor, Tensor> forward(const Gumbel& sample) {
  GumbelSoftmaxForward a;
  ClassLayout layout = sample.fill(a);
  const Tensor y = at::empty_like(sample.logits);
  layout.out(a.y, y);
  Tensor key;
  if (sample.noise.drawn) key = draw_key(a.noise.key, sample.noise.generator, y);
  a.extent = layout.resolve();
  Device(y.device()).run(&Kernels::gumbel_softmax_forward, a);
  layout.finish();
  return {y, key};
}

Tensor gumbel_softmax(const Tensor& logits, const OptionalTensor& key, const OptionalTensor& eps, GUMBEL_OPTIONS) {
  return std::get<0>(forward({logits, {key, eps}, GUMBEL_VALUES}));
}

std::tuple<Tensor, Tensor> gumbel_softmax_draw(const Tensor& logits, const Generator& generator, GUMBEL_OPTIONS) {
  return forward({logits, NoiseOrigin(generator), GUMBEL_VALUES});
}

std::tuple<Tensor, Tensor> gumbel_softmax_backward(const OptionalTensor& grad, const Tensor& logits,
                                                   const OptionalTensor& key, const OptionalTensor& eps, GUMBEL_OPTIONS,
                                                   const Tensor& y, int64_t mask) {
  const Gumbel sample{logits, {key, eps}, GUMBEL_VALUES};
  const Tensor d_logits = wanted(logits, mask, 0), d_eps = wanted(or_undefined(eps), mask, 1);
  TORCH_CHECK_TYPE(grad && grad->defined(), "grad_0: expected a Tensor, got None");
  GumbelSoftmaxBackward a;
  ClassLayout layout = sample.fill(a);
  // What a narrow type has rounded, or taken the largest of, is made again.
  if (!hard && y.scalar_type() == (a.wide ? at::kDouble : at::kFloat)) layout.in(a.y, y);
  layout.in(a.grad, *grad);
  layout.gradient(a.d_logits, d_logits);
  const EpsGradient by_eps(d_eps, a.wide ? at::kDouble : at::kFloat);
  layout.gradient(a.d_eps, by_eps.made());
  a.extent = layout.resolve();
  Device(logits.device()).run(&Kernels::gumbel_softmax_backward, a);
  layout.finish();
  by_eps.finish();
  return {d_logits, d_eps};
}

void register_kernels(torch::Library& m) {
  m.impl("discrete_entropy", TORCH_FN(discrete_entropy));
  m.impl("discrete_entropy_backward", TORCH_FN(discrete_entropy_backward));
  m.impl("discrete_kl", TORCH_FN(discrete_kl));
  m.impl("discrete_kl_backward", TORCH_FN(discrete_kl_backward));
  m.impl("categorical_entropy", TORCH_FN(categorical_entropy));
  m.impl("categorical_entropy_backward", TORCH_FN(categorical_entropy_backward));
  m.impl("categorical_kl", TORCH_FN(categorical_kl));
  m.impl("categorical_kl_backward", TORCH_FN(categorical_kl_backward));
  m.impl("gumbel_softmax", TORCH_FN(gumbel_softmax));
  m.impl("gumbel_softmax.draw", TORCH_FN(gumbel_softmax_draw));
  m.impl("gumbel_softmax_backward", TORCH_FN(gumbel_softmax_backward));
}

}  // namespace

GENKERN_FOR_EACH_DEVICE(register_kernels)

}  // namespace genkern
