#include "ops/call.h"

#include <ATen/PythonTorchFunctionTLS.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <torch/csrc/Device.h>
#include <torch/csrc/Dtype.h>
#include <torch/csrc/Exceptions.h>
#include <torch/csrc/Generator.h>
#include <torch/csrc/Size.h>
#include <torch/csrc/autograd/python_variable.h>

namespace genkern {
namespace {

using torch::jit::Stack;

// An operation as Python calls it.
struct Call {
  c10::OperatorHandle op;
  std::optional<c10::OperatorHandle> draw;  // of an operation that has a key
  Py_ssize_t key;                           // the place of the key, or -1
  std::vector<c10::TypeKind> kinds;         // of the arguments; what is optional by what it would be
  std::vector<bool> optional;
};

bool is_list_of_ints(PyObject* value, c10::List<int64_t>& list) {
  if (!PyTuple_CheckExact(value) && !PyList_CheckExact(value) && !THPSize_Check(value)) return false;
  const Py_ssize_t size = PySequence_Fast_GET_SIZE(value);
  for (Py_ssize_t i = 0; i < size; ++i) {
    PyObject* item = PySequence_Fast_GET_ITEM(value, i);
    if (!PyLong_CheckExact(item)) return false;
    int overflow = 0;
    list.push_back(PyLong_AsLongLongAndOverflow(item, &overflow));
    if (overflow) return false;
  }
  return true;
}

// Whether the value is just what the argument takes; anything else is left to torch.ops.
bool push(Stack& stack, c10::TypeKind kind, bool optional, PyObject* value) {
  if (value == Py_None) {
    stack.emplace_back();
    return optional;
  }
  switch (kind) {
    case c10::TypeKind::TensorType:
      if (!THPVariable_CheckExact(value)) return false;
      stack.emplace_back(THPVariable_Unpack(value));
      return true;
    case c10::TypeKind::FloatType:
      if (!PyFloat_CheckExact(value) && !PyLong_CheckExact(value)) return false;
      stack.emplace_back(PyFloat_AsDouble(value));
      if (PyErr_Occurred()) return PyErr_Clear(), false;  // an int beyond all floats
      return true;
    case c10::TypeKind::BoolType:
      if (!PyBool_Check(value)) return false;
      stack.emplace_back(value == Py_True);
      return true;
    case c10::TypeKind::IntType:
    case c10::TypeKind::SymIntType: {
      int overflow = 0;
      if (!PyLong_CheckExact(value)) return false;
      stack.emplace_back(static_cast<int64_t>(PyLong_AsLongLongAndOverflow(value, &overflow)));
      return !overflow;
    }
    case c10::TypeKind::StringType: {
      Py_ssize_t size = 0;
      const char* text = PyUnicode_CheckExact(value) ? PyUnicode_AsUTF8AndSize(value, &size) : nullptr;
      if (!text) return PyErr_Clear(), false;
      stack.emplace_back(std::string(text, size));
      return true;
    }
    case c10::TypeKind::ListType: {
      c10::List<int64_t> list;
      if (!is_list_of_ints(value, list)) return false;
      stack.emplace_back(std::move(list));
      return true;
    }
    case c10::TypeKind::GeneratorType:
      if (!THPGenerator_Check(value)) return false;
      stack.emplace_back(reinterpret_cast<THPGenerator*>(value)->cdata);
      return true;
    case c10::TypeKind::ScalarTypeType:
      if (!THPDtype_Check(value)) return false;
      stack.emplace_back(static_cast<int64_t>(reinterpret_cast<THPDtype*>(value)->scalar_type));
      return true;
    case c10::TypeKind::DeviceObjType:
      if (!THPDevice_Check(value)) return false;
      stack.emplace_back(reinterpret_cast<THPDevice*>(value)->device);
      return true;
    default:
      return false;
  }
}

PyObject* wrap(Stack& stack, size_t results) {
  if (results == 1) return THPVariable_Wrap(std::move(stack[0]).toTensor());
  PyObject* tuple = PyTuple_New(static_cast<Py_ssize_t>(results));
  for (size_t i = 0; tuple && i < results; ++i)
    PyTuple_SET_ITEM(tuple, static_cast<Py_ssize_t>(i), THPVariable_Wrap(std::move(stack[i]).toTensor()));
  return tuple;
}

PyObject* run(PyObject* capsule, PyObject* const* args, Py_ssize_t size) {
  HANDLE_TH_ERRORS
  const auto& call = *static_cast<const Call*>(PyCapsule_GetPointer(capsule, nullptr));
  if (size != static_cast<Py_ssize_t>(call.kinds.size()) || at::impl::torch_function_mode_enabled())
    Py_RETURN_NOTIMPLEMENTED;
  const Py_ssize_t key = call.key;
  const bool draws = key >= 0 && args[key] == Py_None && args[key + 1] == Py_None;
  Stack stack;
  stack.reserve(size);
  for (Py_ssize_t i = 0; i < size; ++i) {
    if (key >= 0 && (draws ? i == key || i == key + 1 : i == key + 2)) continue;
    if (!push(stack, call.kinds[i], call.optional[i], args[i])) Py_RETURN_NOTIMPLEMENTED;
  }
  {
    const pybind11::gil_scoped_release others_may_run;
    (draws ? *call.draw : call.op).callBoxed(&stack);
  }
  return wrap(stack, stack.size() - draws);
  END_HANDLE_TH_ERRORS
}

PyMethodDef definition{"call", reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(&run)), METH_FASTCALL,
                       nullptr};

}  // namespace

PyObject* make_call(const std::string& name) {
  const c10::OperatorName op{"genkern::" + name, ""};
  auto call = std::make_unique<Call>(Call{c10::Dispatcher::singleton().findSchemaOrThrow(op.name.c_str(), ""),
                                          c10::Dispatcher::singleton().findSchema({op.name, "draw"}),
                                          -1,
                                          {},
                                          {}});
  const auto add = [&](const c10::TypePtr& type, bool optional) {
    call->kinds.push_back(type->kind());
    call->optional.push_back(optional);
  };
  const auto& schema = call->op.schema();
  if (call->draw) call->key = *schema.argumentIndexWithName("key");
  for (const c10::Argument& argument : schema.arguments()) {
    const auto optional = argument.real_type()->cast<c10::OptionalType>();
    add(optional ? optional->getElementType() : argument.real_type(), optional != nullptr);
    if (call->key >= 0 && static_cast<Py_ssize_t>(call->kinds.size()) == call->key + 2)
      add(c10::GeneratorType::get(), true);
  }
  PyObject* capsule = PyCapsule_New(call.release(), nullptr,
                                    [](PyObject* c) { delete static_cast<Call*>(PyCapsule_GetPointer(c, nullptr)); });
  PyObject* function = PyCFunction_New(&definition, capsule);
  Py_DECREF(capsule);
  return function;
}

}  // namespace genkern
