// Standard deviations over groups of a batch, on a GPU. Rows stay rows: members lie apart, whatever is dense.
#include "cuda/gan.h"
#include "cuda/launch.cuh"
#include "tiles/gan.h"

namespace genkern::cuda {

Status group_stddev_forward(const GroupStddevForward& x, const Launch& launch) {
  return with_engine(x, true, {{&x.x}, {}}, [&](auto engine, auto, const auto& a) {
    using E = decltype(engine);
    return reduce<E, GroupStddevForwardTile<E>>(a, {&a.stddev}, 0, launch);
  });
}

Status group_stddev_backward(const GroupStddevBackward& x, const Launch& launch) {
  return with_engine(x, true, {{&x.x, &x.upstream, &x.d_x}, {&x.grad}}, [&](auto engine, auto, const auto& a) {
    using E = decltype(engine);
    return map<E, GroupStddevBackwardTile<E>>(a, 0, launch);
  });
}

}  // namespace genkern::cuda
