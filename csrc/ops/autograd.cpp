#include "ops/autograd.h"

#include <ATen/FuncTorchTLS.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/core/ivalue.h>
#include <torch/csrc/autograd/function.h>
#include <torch/csrc/autograd/functions/utils.h>
#include <torch/csrc/autograd/saved_variable.h>
#include <torch/csrc/dynamo/compiled_autograd.h>
#include <torch/library.h>

#include <algorithm>
#include <sstream>

namespace genkern {
namespace {

using torch::autograd::variable_list;
using torch::jit::Stack;

// One operation and its gradients. `arguments` are places among the arguments of backward; where the op draws its key,
// it has one argument, the generator, in place of key and eps, which are at `key` and behind.
struct Differentiable {
  std::string name;
  c10::OperatorHandle op, backward, vjp;
  std::vector<int64_t> arguments;
  int64_t key = -1;
  size_t kept = 0;  // results that backward wants to see, behind the arguments: the first ones

  bool draws() const { return key >= 0; }
  // The argument as a call of the op has it; one that draws is given no eps.
  at::Tensor find(const Stack& stack, int64_t argument) const {
    if (draws() && argument == key + 1) return {};
    const c10::IValue& value = stack[draws() && argument > key ? argument - 1 : argument];
    return value.isTensor() ? value.toTensor() : at::Tensor();
  }
};

// A call in the graph: the arguments as they came, the key that was drawn, results that are kept. Written out rather
// than made by torch::autograd::Function, which takes three times as long: most latents are so small that this is what
// they cost.
struct Node : torch::autograd::Node {
  const Differentiable* d = nullptr;
  Stack arguments;                                        // of backward, behind the gradients; no tensors
  std::vector<torch::autograd::SavedVariable> variables;  // for each argument: the tensor there, or none

  std::string name() const override { return d->name; }

  void save(Stack&& call, const Stack& results) {
    arguments = std::move(call);
    if (d->draws()) {
      arguments[d->key] = results.back();
      arguments.emplace(arguments.begin() + d->key + 1);
    }
    variables.resize(arguments.size());
    for (size_t i = 0; i < arguments.size(); ++i) {
      if (!arguments[i].isTensor()) continue;
      const at::Tensor tensor = std::move(arguments[i]).toTensor();
      if (tensor.defined()) variables[i] = torch::autograd::SavedVariable(tensor, false);
      arguments[i] = c10::IValue();
    }
    for (size_t i = 0; i < d->kept; ++i) variables.emplace_back(results[i].toTensor(), true);
    arguments.resize(variables.size());
  }

  void release_variables() override {
    for (auto& variable : variables) variable.reset_data();
  }

  variable_list apply(variable_list&& grads) override {
    variable_list results(d->arguments.size());
    int64_t mask = 0;
    for (size_t bit = 0; bit < results.size(); ++bit) mask |= int64_t{task_should_compute_output(bit)} << bit;
    if (mask == 0 || std::none_of(grads.begin(), grads.end(), [](const at::Tensor& g) { return g.defined(); }))
      return results;
    Stack stack;
    stack.reserve(grads.size() + arguments.size() + 1);
    for (at::Tensor& grad : grads) stack.push_back(grad.defined() ? c10::IValue(std::move(grad)) : c10::IValue());
    for (size_t i = 0; i < arguments.size(); ++i) {
      at::Tensor tensor = variables[i].unpack(getptr());
      stack.push_back(tensor.defined() ? c10::IValue(std::move(tensor)) : arguments[i]);
    }
    stack.emplace_back(mask);
    if (at::GradMode::is_enabled()) {
      d->vjp.callBoxed(&stack);
    } else {
      const at::AutoDispatchBelowADInplaceOrView guard;
      d->backward.callBoxed(&stack);
    }
    for (size_t bit = 0; bit < results.size(); ++bit)
      if (mask >> bit & 1) results[bit] = std::move(stack[bit]).toTensor();
    return results;
  }

  // Compiled autograd: what the compiled graph is specialised on, and the call with its proxies for what was saved.
  void compiled_args(torch::dynamo::autograd::CompiledNodeArgs& args) const override {
    std::ostringstream text;
    for (const c10::IValue& argument : arguments) text << argument << ';';
    args.collect(reinterpret_cast<uint64_t>(d));
    args.collect(text.str());
    for (size_t i = 0; i < variables.size(); ++i) args.collect(variables[i], i + d->kept >= variables.size());
  }
  variable_list apply_with_saved(const variable_list& grads,
                                 torch::dynamo::autograd::SwapSavedVariables& saved) override {
    saved.before(variables);
    variable_list results = apply(variable_list(grads));
    saved.after(variables);
    return results;
  }
};

// Nodes are counted by an intrusive pointer from torch 2.13 on, before by a shared one.
template <class N>
auto make_node() {
  using Pointer = decltype(std::declval<N&>().getptr());
  if constexpr (std::is_same_v<Pointer, std::shared_ptr<torch::autograd::Node>>)
    return std::shared_ptr<N>(new N(), [](N* node) { deleteNode(node); });
  else
    return c10::make_intrusive<N>();
}

class Kernel final : public c10::OperatorKernel {
 public:
  explicit Kernel(Differentiable d) : d_(std::move(d)) {}

  void operator()(const c10::OperatorHandle&, c10::DispatchKeySet, Stack* stack) {
    if (!requires_grad(*stack)) return run(stack);
    // A transform of torch.func would not see the node; the Python layer takes the definition there.
    if (const auto& functorch = at::functorch::functorchTLSAccessor()) functorch->checkSupportsCppAutogradFunction();
    auto node = make_node<Node>();
    node->d = &d_;
    torch::autograd::edge_list edges;
    edges.reserve(d_.arguments.size());
    for (const int64_t argument : d_.arguments) {
      const at::Tensor tensor = d_.find(*stack, argument);
      edges.push_back(tensor.defined() ? torch::autograd::impl::gradient_edge(tensor) : torch::autograd::Edge());
    }
    node->set_next_edges(std::move(edges));
    Stack call = *stack;
    run(stack);
    const size_t outputs = stack->size() - d_.draws();
    for (size_t i = 0; i < outputs; ++i) torch::autograd::set_history((*stack)[i].toTensor(), node);
    node->save(std::move(call), *stack);
  }

 private:
  bool requires_grad(const Stack& stack) const {
    return at::GradMode::is_enabled() && std::any_of(d_.arguments.begin(), d_.arguments.end(), [&](int64_t argument) {
             const at::Tensor tensor = d_.find(stack, argument);
             return tensor.defined() && tensor.requires_grad();
           });
  }
  void run(Stack* stack) const {
    const at::AutoDispatchBelowADInplaceOrView guard;
    d_.op.callBoxed(stack);
  }

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
  const auto find = [&](const char* suffix) {
    return c10::Dispatcher::singleton().findSchemaOrThrow(("genkern::" + name + suffix).c_str(), "");
  };
  const auto implement = [&](const std::string& op, Differentiable d) {
    library.impl(op.c_str(), torch::CppFunction::makeFromBoxedFunctor(std::make_unique<Kernel>(std::move(d))));
  };
  Differentiable d{"genkern::" + name, find(""), find("_backward"), find("_vjp"), differentiable};
  const auto& schema = d.op.schema();
  d.kept = d.backward.schema().arguments().size() - schema.returns().size() - schema.arguments().size() - 1;
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
