// Discrete distributions: checks, allocation, layouts with classes.
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>

#include "ops/loss.h"

namespace genkern::discrete_op {

// The shape that the tensors of an operation share, the dimension of its classes, and what remains without it.
struct ClassShape {
  at::DimVector full, rest;
  int64_t dim;

  ClassShape(at::IntArrayRef shape, int64_t given) : full(shape.begin(), shape.end()) {
    const auto ndim = static_cast<int64_t>(shape.size());
    GK_REQUIRE(given >= -ndim && given < ndim);
    dim = given < 0 ? given + ndim : given;
    GK_REQUIRE(shape[dim] > 0);
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

template <int N>
Tensors read_tensors(Arguments& a) {
  Tensors found;
  for (int k = 0; k < N; ++k) found.push_back(a.tensor());
  return found;
}

// A sum of terms over the classes: a loss over elements whose last dimension they are, which a row sums at least.
template <auto forward_kernel, auto backward_kernel>
struct Masses {
  using Forward = decltype(arguments_of(forward_kernel));
  using Backward = decltype(arguments_of(backward_kernel));
  using Inputs = typename Forward::Inputs;
  static constexpr int N = std::extent_v<decltype(Inputs::of)>;
  static constexpr auto forward = forward_kernel;
  static constexpr auto backward = backward_kernel;
  Tensors tensors;
  ClassShape classes;
  at::DimVector shape;
  Reduce reduce;

  explicit Masses(Arguments& a)
      : tensors(read_tensors<N>(a)),
        classes(broadcast(tensors), a.integer()),
        shape(classes.rest),
        reduce(a.loss().over(shape)) {
    shape.push_back(classes.classes());
    const bool each = reduce.kind == Reduction::none;
    reduce.event_ndim = each ? 1 : reduce.event_ndim + 1;
    if (each) reduce.kind = Reduction::event;
  }

  Layout fill(Inputs& a) const {
    a.wide = compute_type(tensors) == at::kDouble;
    Layout layout(shape, reduce.event_ndim, true);
    for (int k = 0; k < N; ++k) layout.in(a.of[k], seen(tensors[k]));
    return layout;
  }
  Tensors gradients(Backward& a, Layout& layout, int64_t mask) const {
    Tensors found;
    for (int k = 0; k < N; ++k) {
      found.push_back(wanted(tensors[k], mask, k));
      layout.gradient(a.d[k], seen(found[k]));
    }
    return found;
  }

 private:
  // A tensor with its classes last, and with the dimensions that it lacks.
  Tensor seen(const Tensor& tensor) const {
    const auto ndim = static_cast<int64_t>(shape.size());
    if (!tensor.defined() || (classes.dim == ndim - 1)) return tensor;
    at::DimVector sizes(ndim - tensor.dim(), 1), strides(ndim - tensor.dim(), 0);
    sizes.append(tensor.sizes().begin(), tensor.sizes().end());
    strides.append(tensor.strides().begin(), tensor.strides().end());
    for (at::DimVector* v : {&sizes, &strides})
      std::rotate(v->begin() + classes.dim, v->begin() + classes.dim + 1, v->end());
    return tensor.as_strided(sizes, strides);
  }
};

// The entropy of the logits q, or their divergence from p, which is uniform where absent.
template <bool kDivergence>
struct Logits {
  using Forward = CategoricalForward;
  using Backward = CategoricalBackward;
  static constexpr auto forward = &Kernels::categorical_forward;
  static constexpr auto backward = &Kernels::categorical_backward;
  Tensors tensors;
  ClassShape classes;
  const at::DimVector& shape = classes.rest;
  double unimix;
  DivergenceOptions divergence;
  Reduce reduce;

  explicit Logits(Arguments& a)
      : tensors(read_tensors<kDivergence ? 2 : 1>(a)),
        classes(broadcast(tensors), a.integer()),
        unimix(kDivergence ? a.number() : 0.0),
        divergence(kDivergence ? a.divergence() : DivergenceOptions()),
        reduce(a.loss().over(shape)) {
    GK_REQUIRE(unimix >= 0 && unimix <= 1);
  }
  Logits(const Logits&) = delete;

  ClassLayout fill(Categorical& a) const {
    a.wide = compute_type(tensors) == at::kDouble;
    a.classes = classes.classes();
    a.divergence = kDivergence;
    a.unimix = unimix;
    a.free_nats = divergence.free_bits * reduce.nats_per_unit;
    ClassLayout layout(classes, reduce.event_ndim, true);
    layout.in(a.q, tensors[0]);
    if (kDivergence) layout.in(a.p, tensors[1]);
    return layout;
  }
  Tensors gradients(Backward& a, ClassLayout& layout, int64_t mask) const {
    a.grad_scale_q = divergence.grad_scale_q;
    a.grad_scale_p = divergence.grad_scale_p;
    Tensors found{wanted(tensors[0], mask, 0)};
    layout.gradient(a.d_q, found[0]);
    if (kDivergence) {
      found.push_back(wanted(tensors[1], mask, 1));
      layout.gradient(a.d_p, found[1]);
    }
    return found;
  }
};

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
    a.wide = logits.scalar_type() == at::kDouble;
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
    GK_REQUIRE(tau >= 0);
    check_noise(noise, element_offset, logits, logits.sizes());
    return {logits.sizes(), dim};
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
  GK_REQUIRE(grad.defined());
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

GENKERN_OPS(m) {
  using K = Kernels;
  implement_loss<Masses<&K::discrete_entropy_forward, &K::discrete_entropy_backward>>(m, "discrete_entropy");
  implement_loss<Masses<&K::discrete_kl_forward, &K::discrete_kl_backward>>(m, "discrete_kl");
  implement_loss<Logits<false>>(m, "categorical_entropy");
  implement_loss<Logits<true>>(m, "categorical_kl");
  implement<gumbel_forward, gumbel_backward>(m, "gumbel_softmax", true);
}

}  // namespace genkern::discrete_op
