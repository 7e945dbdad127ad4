// The engine of csrc/cuda with the smallest of tiles, so that what it does by itself can be counted and, with a fault
// planted, compiled again in seconds.
#include "launches.h"

#include "cuda/launch.cuh"

using namespace genkern;
using namespace genkern::cuda;

namespace {

struct Visit {
  Operand counts, places;
};

template <class E>
struct VisitTile {
  typename E::Input before;
  typename E::Output after, places;

  GK_DEVICE explicit VisitTile(const Visit& a) : before(a.counts), after(a.counts), places(a.places) {}
  GK_DEVICE void operator()(const typename E::Span& s) {
    using T = typename E::T;
    before.fetch(s);
    for (int k = 0; k < E::width; ++k) {
      after.set(k, before[k] + T(1));
      places.set(k, static_cast<T>((s.first + k) % kPlaces));
    }
    after.commit(s);
    places.commit(s);
  }
};

struct Summands {
  Operand x;
};

template <class E, int kLosses>
struct SummandsTile {
  typename E::Input x;

  GK_DEVICE explicit SummandsTile(const Summands& a) : x(a.x) {}
  GK_DEVICE void operator()(const typename E::Span& s, typename E::Values* values) {
    x.fetch(s);
    for (int k = 0; k < E::width; ++k)
      for (int loss = 0; loss < kLosses; ++loss) values[loss].set(k, x[k] * static_cast<typename E::T>(loss + 1));
  }
};

struct Keys {
  KeySource key;
  Operand out;
};

template <class E>
struct KeysTile {
  Key key;
  typename E::Output out;

  GK_DEVICE explicit KeysTile(const Keys& a) : key(block_key(a.key)), out(a.out) {}
  GK_DEVICE void operator()(const typename E::Span& s) {
    for (int k = 0; k < E::width; ++k) out.set(k, static_cast<float>((key.seed + 3 * key.offset) % (1 << 20)));
    out.commit(s);
  }
};

Extent extent_of(const int64_t* e) { return {e[0], e[1], e[2]}; }

template <class F>
Status with(int engine, const F& f) {
  switch (engine) {
    case 0:
      return f(Engine<float, float>(), DType::f32);
    case 1:
      return f(Engine<float, __half>(), DType::f16);
    case 2:
      return f(Engine<float, Any>(), DType::f32);
    case 3:
      return f(Engine<double, Any>(), DType::f64);
  }
  return "no such engine";
}

template <class E, int kLosses>
Status reduce_to(const Plan& plan, const Summands& a, const Losses<kLosses>& losses, const Meeting& meeting) {
  return start(plan.blocks, Launch{}, reduce_kernel<E, SummandsTile<E, kLosses>, kLosses, Summands>, a, plan, losses,
               meeting);
}

}  // namespace

const char* visit(int engine, const int64_t* extent, const int64_t* strides, int phase, void* counts, void* places) {
  return with(engine, [&](auto e, DType dtype) {
    using E = decltype(e);
    const Visit a{{counts, dtype, strides[0], strides[1], strides[2]},
                  {places, dtype, strides[0], strides[1], strides[2]}};
    const Plan plan = make_plan(extent_of(extent), E::width, phase);
    return start(plan.blocks, Launch{}, map_kernel<E, VisitTile<E>, Visit>, a, plan);
  });
}

const char* reduce(int engine, int losses, int reduction, const int64_t* extent, const int64_t* strides, int phase,
                   double factor, void* x, void* out, double* workspace, unsigned* ticket) {
  return with(engine, [&](auto e, DType dtype) {
    using E = decltype(e);
    using T = typename E::T;
    const Extent over = extent_of(extent);
    const Plan plan = make_plan(over, E::width, phase);
    const Summands a{{x, dtype, strides[0], strides[1], strides[2]}};
    const auto loss = [&](int k) {
      const int64_t results[] = {over.numel(), over.rows, 1};
      const DType type = sizeof(T) == 8 ? DType::f64 : DType::f32;
      const Operand to{static_cast<T*>(out) + k * results[reduction], type, over.event(), over.length, 1};
      return Loss{static_cast<Reduction>(reduction), factor, to};
    };
    const Meeting meeting{workspace, ticket};
    if (losses == 1) return reduce_to<E, 1>(plan, a, {{loss(0)}}, meeting);
    return reduce_to<E, 3>(plan, a, {{loss(0), loss(1), loss(2)}}, meeting);
  });
}

int64_t reduce_workspace(const int64_t* extent, int reduction, int losses) {
  return workspace_size(extent_of(extent), static_cast<Reduction>(reduction), losses);
}

const char* keys(int64_t n, uint64_t seed, uint64_t offset, const uint64_t* state, uint64_t added, bool raw,
                 uint64_t* used, float* out) {
  using E = Engine<float, float>;
  Keys a;
  a.key.value = {seed, offset};
  a.key.seed = state;
  a.key.offset = state ? state + 1 : nullptr;
  a.key.added = added;
  a.key.raw = raw;
  a.key.out = used;
  a.out = {out, DType::f32, n, n, 1};
  const Plan plan = make_plan({1, 1, n}, E::width, 0);
  return start(plan.blocks, Launch{}, map_kernel<E, KeysTile<E>, Keys>, a, plan);
}

void plan(const int64_t* extent, int width, int phase, int64_t* out) {
  const Plan p = make_plan(extent_of(extent), width, phase);
  const int64_t values[] = {p.groups_a_run, p.groups, p.pieces, p.piece, p.blocks, p.items()};
  for (int i = 0; i < 6; ++i) out[i] = values[i];
}
