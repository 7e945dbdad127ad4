// Discrete distributions: checks, allocation, launch.
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>

#include "ops/arguments.h"
#include "ops/device.h"

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
  // The gradient of an argument that was broadcast; undefined: absent.
  void gradient(ClassOperand& operand, const Tensor& tensor) {
    if (!tensor.defined()) return;
    const bool whole = tensor.sizes() == at::IntArrayRef(shape_.full);
    const auto options = tensor.options().dtype(arithmetic(slots_));
    slots_.push_back({&operand, whole ? tensor : at::empty(shape_.full, options), tensor});
  }
  // A loss over what remains without the classes, and its gradient.
  void in(Operand& operand, const Tensor& grad) {
    grad_operand_ = &operand;
    grad_ = grad;
  }
  void out(Operand& operand, const Tensor& loss) {
    loss_operand_ = &operand;
    loss_ = loss;
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

// The entropy of the masses p, or their divergence from q.
template <bool kDivergence>
struct Masses {
  Tensor p, q;
  ClassShape shape;
  Reduce reduce;

  explicit Masses(Arguments& a)
      : p(a.tensor()),
        q(kDivergence ? a.tensor() : Tensor()),
        shape(check(a.integer())),
        reduce(a.loss().over(shape.rest)) {}

  ClassLayout fill(Discrete& a) const {
    ClassLayout layout(shape, reduce.event_ndim, true);
    a.wide = type() == at::kDouble;
    a.classes = shape.classes();
    layout.in(a.p, p);
    layout.in(a.q, q);
    return layout;
  }
  at::ScalarType type() const { return compute_type({&p, &q}); }

 private:
  ClassShape check(int64_t dim) const {
    check_tensor("p", p, p, "p");
    check_tensor("q", q, p, "p", !kDivergence);
    return {kDivergence ? "p, q" : "p", broadcast({{"p", &p}, {"q", &q}}), dim};
  }
};

template <bool kDivergence>
Tensors discrete_forward(Arguments& arguments) {
  const Masses<kDivergence> masses(arguments);
  DiscreteForward a;
  ClassLayout layout = masses.fill(a);
  const Tensor value = make_loss(a.value, masses.reduce, layout, masses.p, masses.shape.rest, masses.type());
  launch(layout, masses.p, &Kernels::discrete_forward, a);
  return {value};
}

template <bool kDivergence>
Tensors discrete_backward(Arguments& arguments) {
  const Tensor grad = arguments.tensor();
  const Masses<kDivergence> masses(arguments);
  const int64_t mask = arguments.integer();
  Tensors d{wanted(masses.p, mask, 0)};
  if (kDivergence) d.push_back(wanted(masses.q, mask, 1));
  DiscreteBackward a;
  ClassLayout layout = masses.fill(a);
  layout.in(a.grad, expand_grad(grad, masses.reduce, masses.shape.rest));
  a.factor = masses.reduce.factor;
  layout.gradient(a.d_p, d[0]);
  if (kDivergence) layout.gradient(a.d_q, d[1]);
  launch(layout, masses.p, &Kernels::discrete_backward, a);
  return d;
}

// The entropy of the logits q, or their divergence from p, which is uniform where absent.
template <bool kDivergence>
struct Logits {
  Tensor q, p;
  ClassShape shape;
  double unimix = 0.0;
  DivergenceOptions divergence;
  Reduce reduce;

  explicit Logits(Arguments& a)
      : q(a.tensor()),
        p(kDivergence ? a.tensor() : Tensor()),
        shape(check(a.integer())),
        unimix(kDivergence ? a.number() : 0.0),
        divergence(kDivergence ? a.divergence() : DivergenceOptions()),
        reduce(a.loss().over(shape.rest)) {
    TORCH_CHECK_VALUE(unimix >= 0 && unimix <= 1, "unimix: expected a number from 0 to 1, got ", unimix);
  }

  ClassLayout fill(Categorical& a) const {
    ClassLayout layout(shape, reduce.event_ndim, true);
    a.wide = type() == at::kDouble;
    a.classes = shape.classes();
    a.divergence = kDivergence;
    a.unimix = unimix;
    a.free_nats = divergence.free_bits * reduce.nats_per_unit;
    layout.in(a.q, q);
    layout.in(a.p, p);
    return layout;
  }
  at::ScalarType type() const { return compute_type({&q, &p}); }

 private:
  ClassShape check(int64_t dim) const {
    const char* name = kDivergence ? "logits_q" : "logits";
    check_tensor(name, q, q, name);
    check_tensor("logits_p", p, q, name, true);
    return {p.defined() ? "logits_q, logits_p" : name, broadcast({{name, &q}, {"logits_p", &p}}), dim};
  }
};

template <bool kDivergence>
Tensors categorical_forward(Arguments& arguments) {
  const Logits<kDivergence> logits(arguments);
  CategoricalForward a;
  ClassLayout layout = logits.fill(a);
  const Tensor value = make_loss(a.value, logits.reduce, layout, logits.q, logits.shape.rest, logits.type());
  launch(layout, logits.q, &Kernels::categorical_forward, a);
  return {value};
}

template <bool kDivergence>
Tensors categorical_backward(Arguments& arguments) {
  const Tensor grad = arguments.tensor();
  const Logits<kDivergence> logits(arguments);
  const int64_t mask = arguments.integer();
  Tensors d{wanted(logits.q, mask, 0)};
  if (kDivergence) d.push_back(wanted(logits.p, mask, 1));
  CategoricalBackward a;
  ClassLayout layout = logits.fill(a);
  layout.in(a.grad, expand_grad(grad, logits.reduce, logits.shape.rest));
  a.factor = logits.reduce.factor;
  a.grad_scale_q = logits.divergence.grad_scale_q;
  a.grad_scale_p = logits.divergence.grad_scale_p;
  layout.gradient(a.d_q, d[0]);
  if (kDivergence) layout.gradient(a.d_p, d[1]);
  launch(layout, logits.q, &Kernels::categorical_backward, a);
  return d;
}

// Where noise comes from a key, the order of elements is that of the noise.
struct Gumbel {
  Tensor logits;
  NoiseOrigin noise;
  double tau;
  bool hard;
  int64_t dim, element_offset;
  ClassShape shape;

  explicit Gumbel(Arguments& a)
      : logits(a.tensor()),
        noise(a.noise()),
        tau(a.number()),
        hard(a.boolean()),
        dim(a.integer()),
        element_offset(a.integer()),
        shape(check()) {}

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

Tensors gumbel_forward(Arguments& arguments) {
  const Gumbel sample(arguments);
  GumbelSoftmaxForward a;
  ClassLayout layout = sample.fill(a);
  const Tensor y = at::empty_like(sample.logits);
  layout.out(a.y, y);
  Tensors results{y};
  if (sample.noise.drawn) results.push_back(draw_key(a.noise.key, sample.noise.generator, y));
  launch(layout, y, &Kernels::gumbel_softmax_forward, a);
  return results;
}

Tensors gumbel_backward(Arguments& arguments) {
  const Tensor grad = arguments.tensor();
  const Gumbel sample(arguments);
  const Tensor y = arguments.tensor();
  const int64_t mask = arguments.integer();
  const Tensor d_logits = wanted(sample.logits, mask, 0), d_eps = wanted(sample.noise.eps, mask, 1);
  TORCH_CHECK_TYPE(grad.defined(), "grad_0: expected a Tensor, got None");
  GumbelSoftmaxBackward a;
  ClassLayout layout = sample.fill(a);
  const auto type = a.wide ? at::kDouble : at::kFloat;
  // A sample that a narrow type has rounded, or that is one-hot, is made again.
  if (!sample.hard && y.scalar_type() == type) layout.in(a.y, y);
  layout.in(a.grad, grad);
  layout.gradient(a.d_logits, d_logits);
  const EpsGradient by_eps(d_eps, type);
  layout.gradient(a.d_eps, by_eps.made());
  launch(layout, sample.logits, &Kernels::gumbel_softmax_backward, a);
  by_eps.finish();
  return {d_logits, d_eps};
}

void register_kernels(torch::Library& m) {
  implement<discrete_forward<false>>(m, "discrete_entropy");
  implement<discrete_backward<false>>(m, "discrete_entropy_backward");
  implement<discrete_forward<true>>(m, "discrete_kl");
  implement<discrete_backward<true>>(m, "discrete_kl_backward");
  implement<categorical_forward<false>>(m, "categorical_entropy");
  implement<categorical_backward<false>>(m, "categorical_entropy_backward");
  implement<categorical_forward<true>>(m, "categorical_kl");
  implement<categorical_backward<true>>(m, "categorical_kl_backward");
  implement<gumbel_forward>(m, "gumbel_softmax");
  implement<gumbel_forward>(m, "gumbel_softmax.draw");
  implement<gumbel_backward>(m, "gumbel_softmax_backward");
}

}  // namespace

GENKERN_FOR_EACH_DEVICE(register_kernels)

}  // namespace genkern
