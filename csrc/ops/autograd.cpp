#include "ops/autograd.h"

#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/core/ivalue.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

#include <algorithm>

namespace genkern {
namespace {

using torch::jit::Stack;

// One operation and its gradients. `arguments` are places among the arguments of backward; where the op draws its key,
// it has one argument, the generator, in place of key and eps, which are at `key` and behind.
struct Differentiable {
  c10::OperatorHandle op, backward, vjp;
  std::vector<int64_t> arguments;
  int64_t key = -1;

  bool draws() const { return key >= 0; }
  // The place among the arguments of the op.
  int64_t place(int64_t argument) const { return draws() && argument > key ? argument - 1 : argument; }
  bool is_eps(int64_t argument) const { return draws() && argument == key + 1; }
};

c10::OperatorHandle find(const std::string& name, const char* overload = "") {
  return c10::Dispatcher::singleton().findSchemaOrThrow(("genkern::" + name).c_str(), overload);
}

bool is_defined_tensor(const c10::IValue& value) { return value.isTensor() && value.toTensor().defined(); }

// Arguments are kept as they came, and the key that was drawn; tensors among them through autograd's saved variables.
struct Function : torch::autograd::Function<Function> {
  static torch::autograd::variable_list forward(torch::autograd::AutogradContext* ctx, at::TensorList /*inputs*/,
                                                const Differentiable* d, Stack* stack) {
    Stack arguments = *stack;
    {
      const at::AutoDispatchBelowADInplaceOrView guard;
      d->op.callBoxed(stack);
    }
    torch::autograd::variable_list outputs;
    for (const c10::IValue& value : *stack) outputs.push_back(value.toTensor());
    if (d->draws()) {
      arguments[d->key] = outputs.back();
      arguments.insert(arguments.begin() + d->key + 1, c10::IValue());
      ctx->mark_non_differentiable({outputs.back()});
    }
    torch::autograd::variable_list saved;
    for (c10::IValue& value : arguments) {
      saved.push_back(is_defined_tensor(value) ? value.toTensor() : at::Tensor());
      if (saved.back().defined()) value = c10::IValue();
    }
    ctx->save_for_backward(std::move(saved));
    ctx->saved_data["others"] = c10::ivalue::Tuple::create(std::move(arguments));
    ctx->saved_data["operation"] = reinterpret_cast<int64_t>(d);
    ctx->set_materialize_grads(false);
    return outputs;
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* ctx,
                                                 torch::autograd::variable_list grads) {
    const auto* d = reinterpret_cast<const Differentiable*>(ctx->saved_data["operation"].toInt());
    const auto saved = ctx->get_saved_variables();
    if (d->draws()) grads.pop_back();  // the key has none
    if (std::none_of(grads.begin(), grads.end(), [](const at::Tensor& g) { return g.defined(); })) {
      const auto inputs =
          std::count_if(d->arguments.begin(), d->arguments.end(), [&](int64_t i) { return saved[i].defined(); });
      return torch::autograd::variable_list(inputs + 2);
    }
    const auto& others = ctx->saved_data["others"].toTupleRef().elements();
    Stack stack;
    stack.reserve(grads.size() + saved.size() + 1);
    for (const at::Tensor& grad : grads) stack.push_back(grad.defined() ? c10::IValue(grad) : c10::IValue());
    for (size_t i = 0; i < saved.size(); ++i) stack.push_back(saved[i].defined() ? c10::IValue(saved[i]) : others[i]);
    // Inputs of the function were the arguments that are tensors; bits and results count the others too.
    int64_t mask = 0;
    size_t inputs = 0;
    for (size_t bit = 0; bit < d->arguments.size(); ++bit)
      if (saved[d->arguments[bit]].defined() && ctx->needs_input_grad(inputs++)) mask |= int64_t{1} << bit;
    stack.emplace_back(mask);
    if (at::GradMode::is_enabled()) {
      d->vjp.callBoxed(&stack);
    } else {
      const at::AutoDispatchBelowADInplaceOrView guard;
      d->backward.callBoxed(&stack);
    }
    torch::autograd::variable_list results;
    for (size_t bit = 0; bit < d->arguments.size(); ++bit)
      if (saved[d->arguments[bit]].defined()) results.push_back(mask >> bit & 1 ? stack[bit].toTensor() : at::Tensor());
    results.resize(inputs + 2);  // the operation and the stack are arguments too
    return results;
  }
};

class Kernel final : public c10::OperatorKernel {
 public:
  explicit Kernel(Differentiable d) : d_(std::move(d)) {}

  void operator()(const c10::OperatorHandle&, c10::DispatchKeySet, Stack* stack) {
    std::vector<at::Tensor> inputs;
    inputs.reserve(d_.arguments.size());
    bool requires_grad = false;
    for (const int64_t argument : d_.arguments) {
      if (d_.is_eps(argument)) continue;
      const c10::IValue& value = (*stack)[d_.place(argument)];
      if (!is_defined_tensor(value)) continue;
      inputs.push_back(value.toTensor());
      requires_grad |= inputs.back().requires_grad();
    }
    if (!requires_grad || !at::GradMode::is_enabled()) {
      const at::AutoDispatchBelowADInplaceOrView guard;
      d_.op.callBoxed(stack);
      return;
    }
    auto outputs = Function::apply(at::TensorList(inputs), &d_, stack);
    stack->clear();
    for (at::Tensor& output : outputs) stack->emplace_back(std::move(output));
  }

 private:
  Differentiable d_;
};

// The backward op called by itself, as compiled graphs do: straight to the kernel.
void below_autograd(const c10::OperatorHandle& op, c10::DispatchKeySet, Stack* stack) {
  const at::AutoDispatchBelowADInplaceOrView guard;
  op.callBoxed(stack);
}

}  // namespace

void register_autograd(const std::string& name, const std::vector<int64_t>& differentiable) {
  static torch::Library library(torch::Library::IMPL, "genkern", c10::DispatchKey::Autograd, __FILE__, __LINE__);
  const auto implement = [&](const std::string& op, Differentiable d) {
    library.impl(op.c_str(), torch::CppFunction::makeFromBoxedFunctor(std::make_unique<Kernel>(std::move(d))));
  };
  const Differentiable d{find(name), find(name + "_backward"), find(name + "_vjp"), differentiable};
  implement(name, d);
  if (const auto draw = c10::Dispatcher::singleton().findSchema({"genkern::" + name, "draw"})) {
    Differentiable drawing = d;
    drawing.op = *draw;
    drawing.key = *d.op.schema().argumentIndexWithName("key");
    implement(name + ".draw", std::move(drawing));
  }
  library.impl((name + "_backward").c_str(), torch::CppFunction::makeFromBoxedFunction<&below_autograd>());
}

}  // namespace genkern
