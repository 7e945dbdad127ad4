// Python calls an operation without torch.ops in between: half the time of a call with small tensors.
#pragma once

#include <Python.h>

#include <string>

namespace genkern {

// A function of the arguments of genkern::<name> in the order of its schema, all of them; where it has a key, the
// generator comes behind key and eps, and serves where neither is given. It returns the results of the op, no key
// among them; or NotImplemented where torch.ops must look at an argument, or convert it.
PyObject* make_call(const std::string& name);

}  // namespace genkern
