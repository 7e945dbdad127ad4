// The engine against plain loops, in a process of its own, so that sanitizers watch it. Exit status 0 if all is right,
// 1 if a result is wrong, 2 if a launch failed; a sanitizer that finds something has its own.
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <vector>

#include "kernels.h"
#include "launches.h"

namespace {

using genkern::Extent;

void expect(bool good, const char* what, const Extent& e, int64_t place) {
  if (good) return;
  std::fprintf(stderr, "%s: wrong at %lld of [%lld, %lld, %lld]\n", what, static_cast<long long>(place),
               static_cast<long long>(e.rows), static_cast<long long>(e.runs), static_cast<long long>(e.length));
  std::exit(1);
}

void done(const char* status) {
  if (!status) return;
  std::fprintf(stderr, "launch: %s\n", status);
  std::exit(2);
}

// As many values as are asked for: one beyond is out of bounds.
template <class T>
std::unique_ptr<T[]> memory(int64_t n) {
  return std::make_unique<T[]>(static_cast<size_t>(n));
}

// Whole numbers, of which every sum here is exact.
int value(int64_t i) { return static_cast<int>(i * 2654435761u >> 7) % 16 + 1; }

// The rows lie `gap` elements apart from one another, and elements `step`.
struct Layout {
  int64_t gap = 0, step = 1;
};

template <class T>
void check_sums(int engine, int losses, int reduction, const Extent& e, int phase, const Layout& layout = {}) {
  const int64_t extent[] = {e.rows, e.runs, e.length};
  const int64_t row = e.event() * layout.step + layout.gap, strides[] = {row, e.length * layout.step, layout.step};
  const int64_t results[] = {e.numel(), e.rows, 1}, each[] = {1, e.event(), e.numel()};
  const auto x = memory<T>(row * (e.rows - 1) + (e.event() - 1) * layout.step + 1);
  for (int64_t r = 0; r < e.rows; ++r)
    for (int64_t i = 0; i < e.event(); ++i) x[r * row + i * layout.step] = static_cast<T>(value(r * e.event() + i));
  const int64_t n = results[reduction];
  const auto out = memory<T>(losses * n);
  for (int64_t i = 0; i < losses * n; ++i) out[i] = T(-1);
  const int64_t parts = reduce_workspace(extent, reduction, losses);
  const auto workspace = memory<double>(parts);
  const auto ticket = memory<unsigned>(1);
  for (int repeat = 0; repeat < 2; ++repeat) {  // the ticket is as it was, and what lies in the workspace is no matter
    for (int64_t i = 0; i < parts; ++i) workspace[i] = std::nan("");
    done(reduce(engine, losses, reduction, extent, strides, phase, 0.5, x.get(), out.get(), workspace.get(),
                ticket.get()));
    expect(ticket[0] == 0, "ticket", e, 0);
    for (int k = 0; k < losses; ++k) {
      for (int64_t i = 0; i < n; ++i) {
        double sum = 0.0;
        for (int64_t j = 0; j < each[reduction]; ++j) sum += value(i * each[reduction] + j);
        expect(out[k * n + i] == static_cast<T>(sum * (k + 1) * 0.5), "sum", e, k * n + i);
      }
    }
  }
}

// In every way that a plan shares the work out: 0 writes elements, 1 sums rows, 2 sums all.
void sums() {
  for (int64_t length : {1, 3, 5, 16, 31, 40, 70, 128, 250}) check_sums<float>(0, 1, 1, {37, 1, length}, 0);  // teams
  for (int64_t length : {4, 24, 90}) check_sums<float>(0, 3, 1, {300, 1, length}, 0);  // rows of several blocks
  check_sums<float>(0, 1, 1, {3, 1, 700}, 0);                                          // a block for a row
  check_sums<float>(0, 3, 1, {3, 1, 701}, 0);                                          // at odd places
  check_sums<float>(0, 1, 1, {2, 1, 13000}, 0);                                        // several blocks for a row
  check_sums<float>(0, 3, 1, {2, 1, 12999}, 3);  // the same with three losses and a head
  check_sums<float>(0, 1, 2, {1, 1, 20001}, 1);  // several blocks for all
  check_sums<float>(0, 3, 2, {1, 1, 20001}, 0);
  check_sums<float>(0, 1, 2, {1, 1, 3}, 0);        // one block
  check_sums<float>(0, 1, 2, {5, 1, 33}, 2, {7});  // rows that do not touch
  check_sums<float>(0, 3, 0, {5, 1, 33}, 2, {7});
  check_sums<float>(2, 1, 1, {5, 3, 11}, 1, {2, 3});  // elements that do not
  check_sums<float>(2, 3, 1, {2, 3, 2100}, 1);
  check_sums<float>(2, 1, 2, {2, 3, 900}, 1, {1, 2});
  check_sums<double>(3, 3, 1, {2, 2, 1300}, 0);
  check_sums<double>(3, 1, 2, {9, 7, 5}, 0, {1, 1});
}

template <class T>
void check_visits(int engine, const Extent& e, int phase, const Layout& layout = {}) {
  const int64_t extent[] = {e.rows, e.runs, e.length};
  const int64_t row = e.event() * layout.step + layout.gap, strides[] = {row, e.length * layout.step, layout.step};
  const int64_t n = row * (e.rows - 1) + (e.event() - 1) * layout.step + 1;
  const auto counts = memory<T>(n), places = memory<T>(n);
  for (int64_t i = 0; i < n; ++i) places[i] = T(-1);
  done(visit(engine, extent, strides, phase, counts.get(), places.get()));
  for (int64_t i = 0; i < n; ++i) {
    const int64_t in_row = i % row, element = in_row / layout.step;
    const bool is = in_row % layout.step == 0 && element < e.event();
    expect(counts[i] == T(is), "visits", e, i);
    expect(places[i] == (is ? static_cast<T>((i / row * e.event() + element) % kPlaces) : T(-1)), "place", e, i);
  }
}

// No element is passed over, none is visited twice, nothing beside them is touched.
void visits() {
  for (int64_t length : {1, 2, 4, 7, 8, 13, 257, 2100})
    for (int phase : {0, 1, 3}) check_visits<float>(0, {3, 1, length}, phase, {phase});
  check_visits<float>(2, {4, 3, 5}, 1, {1, 2});
  check_visits<double>(3, {4, 3, 5}, 0);
}

void check_keys(bool in_memory, bool raw, bool out) {
  const int64_t n = 9001;  // several blocks
  const uint64_t seed = 0x9E3779B97F4A7C15u, offset = 77, added = 5;
  const auto state = memory<uint64_t>(2), used = memory<uint64_t>(2);
  state[0] = seed, state[1] = offset;
  const auto values = memory<float>(n);
  done(keys(n, in_memory ? 1 : seed, in_memory ? 2 : offset, in_memory ? state.get() : nullptr, added, raw,
            out ? used.get() : nullptr, values.get()));
  genkern::Key key{seed, offset + (in_memory ? added : 0)};
  if (raw) key = genkern::fold(key.seed, key.offset);
  const auto expected = static_cast<float>((key.seed + 3 * key.offset) % (1 << 20));
  for (int64_t i = 0; i < n; ++i) expect(values[i] == expected, "key", {1, 1, n}, i);
  if (out) expect(used[0] == key.seed && used[1] == key.offset, "key used", {1, 1, n}, 0);
}

void all_keys() {
  for (bool in_memory : {false, true})
    for (bool raw : {false, true})
      for (bool out : {false, true}) check_keys(in_memory, raw, out);
}

}  // namespace

int main(int, char** argv) {
  if (std::strcmp(argv[1], "sums") == 0) return sums(), 0;
  if (std::strcmp(argv[1], "visits") == 0) return visits(), 0;
  if (std::strcmp(argv[1], "keys") == 0) return all_keys(), 0;
  std::fprintf(stderr, "no check is called %s\n", argv[1]);
  return 3;
}
