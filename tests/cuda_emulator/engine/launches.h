// The launches of launches.cu. All return null, or what the device said. `engine` is 0 for float, 1 for half precision
// (groups of 8), 2 for float of any stride, 3 for double; `extent` is rows, runs, length; `strides` row, run, element.
#pragma once

#include <cstdint>

extern "C" {

// Adds 1 to `counts` for each visit of an element, and leaves the low bits of its logical index in `places`.
const char* visit(int engine, const int64_t* extent, const int64_t* strides, int phase, void* counts, void* places);

// The low bits of an element's logical index that `places` holds, exact in every type.
constexpr int64_t kPlaces = 1021;

// Loss k is (k + 1) * factor * x: each element, sums over rows, or the sum (Reduction), in out + k * the number of
// them.
const char* reduce(int engine, int losses, int reduction, const int64_t* extent, const int64_t* strides, int phase,
                   double factor, void* x, void* out, double* workspace, unsigned* ticket);
int64_t reduce_workspace(const int64_t* extent, int reduction, int losses);

// out[i]: the low 20 bits of a key's seed + 3 * its offset, as each of n threads has them from block_key. `state` in
// memory with `added` if given, else by value; folded if `raw`; the key that was used in `used` if given.
const char* keys(int64_t n, uint64_t seed, uint64_t offset, const uint64_t* state, uint64_t added, bool raw,
                 uint64_t* used, float* out);

// A plan's groups_a_run, groups, pieces, piece, blocks, items.
void plan(const int64_t* extent, int width, int phase, int64_t* out);
}
