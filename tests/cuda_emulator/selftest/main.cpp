// One launch by name, in a process of its own. Exit status 0 if the result is right, 1 if it is wrong, 2 if the launch
// failed; a sanitizer that finds something has its own.
#include "launches.h"

#include <cstdio>
#include <cstring>
#include <numeric>
#include <vector>

namespace {

int row_sums() {
  std::vector<float> x(3 * 300), out(3);
  std::iota(x.begin(), x.end(), 0.0f);
  if (run_row_sums(3, 300, x.data(), out.data()) != 0) return 2;
  for (int row = 0; row < 3; ++row) {
    if (out[row] != std::accumulate(&x[row * 300], &x[row * 300] + 300, 0.0f)) return 1;
  }
  return 0;
}

int total() {
  std::vector<float> x(1000), parts(8);
  std::iota(x.begin(), x.end(), 0.0f);
  unsigned ticket = 0;
  for (int repeat = 0; repeat < 2; ++repeat) {  // the ticket returns to 0
    float out = 0.0f;
    if (run_total(1000, x.data(), parts.data(), &ticket, &out) != 0) return 2;
    if (out != 499500.0f) return 1;
  }
  return 0;
}

int reverse() {
  std::vector<int> in(64), out(64);
  std::iota(in.begin(), in.end(), 0);
  if (run_reverse(64, in.data(), out.data()) != 0) return 2;
  for (int i = 0; i < 64; ++i) {
    if (out[i] != i / 32 * 32 + 31 - i % 32) return 1;
  }
  return 0;
}

}  // namespace

int main(int, char** argv) {
  if (std::strcmp(argv[1], "row_sums") == 0) return row_sums();
  if (std::strcmp(argv[1], "total") == 0) return total();
  if (std::strcmp(argv[1], "reverse") == 0) return reverse();
  std::fprintf(stderr, "no launch is called %s\n", argv[1]);
  return 3;
}
