// How an extent is cut into chunks, the unit of work of a thread: whole rows, or, where a row is longer than a
// chunk, pieces of one row. It depends on the extent alone, so sums come out the same for every number of threads.
#pragma once

#include "kernels.h"

namespace genkern {

inline constexpr int64_t kChunk = 16384;  // elements

constexpr int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

struct Chunks {
  int64_t rows, event, rows_each, pieces;

  explicit Chunks(const Extent& e) : rows(e.rows), event(e.event()) {
    rows_each = event == 0 || event >= kChunk ? 1 : kChunk / event;
    pieces = event > kChunk ? (event + kChunk - 1) / kChunk : 1;
  }
  int64_t count() const { return pieces > 1 ? rows * pieces : (rows + rows_each - 1) / rows_each; }
  int64_t first(int64_t chunk) const {
    return pieces == 1 ? chunk * rows_each * event : chunk / pieces * event + chunk % pieces * kChunk;
  }
  int64_t last(int64_t chunk) const {
    const int64_t end = pieces == 1 ? (chunk + 1) * rows_each : chunk / pieces + 1;
    const int64_t limit = least(end, rows) * event;
    return pieces == 1 ? limit : least(first(chunk) + kChunk, limit);
  }
};

// Doubles that a reduction needs besides its results.
int64_t workspace_size(const Extent& extent, Reduction reduction, int losses);

}  // namespace genkern
