// How a launch covers an extent: which threads share a row, and whether several blocks do. Decided on the host from
// the extent, the width of a group and the noise's offset, never from the GPU, so that the order of sums is the same in
// every run and on every one.
#pragma once

#define GK_BACKEND cuda
#include "backend.h"

namespace genkern::cuda {

inline constexpr int kThreadBits = 8, kThreads = 1 << kThreadBits;
inline constexpr int kWarp = 32;
inline constexpr int64_t kMostBlocks = 16384;  // more work is a loop
inline constexpr int64_t kGroupsEach = 4;      // that a thread takes of a piece, so that a block's start is worth it
inline constexpr int64_t kFewRows = 1056;      // fewer do not fill a GPU by themselves: they are cut into pieces

struct Plan {
  Extent extent;
  int width = 0;             // elements of a group
  int phase = 0;             // groups begin where (logical index + phase) is a multiple of the width
  int64_t groups_a_run = 0;  // that a run can touch
  int64_t groups = 0;        // of a row
  int team_bits = 0;         // 2^team_bits threads share a row: 1, 2, 4 ... 32, or a block
  int64_t pieces = 0;        // of a row, each the work of a team
  int64_t piece = 0;         // its groups
  int64_t blocks = 0;

  constexpr int64_t items() const { return extent.rows * pieces; }
  constexpr int team() const { return 1 << team_bits; }
};

constexpr int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

inline Plan make_plan(const Extent& extent, int width, int phase) {
  Plan p;
  p.extent = extent;
  p.width = width;
  p.phase = phase;
  const bool even = phase == 0 && extent.length % width == 0 && extent.event() % width == 0;
  p.groups_a_run = even ? extent.length / width : (extent.length + 2 * width - 2) / width;
  p.groups = extent.runs * p.groups_a_run;
  while (p.team() < kWarp && p.team() < p.groups) ++p.team_bits;
  const bool few = extent.rows < kThreads / kWarp * kFewRows;
  if (p.groups > (few ? 2 : 16) * kWarp) p.team_bits = kThreadBits;
  p.pieces = 1;
  if (p.team() == kThreads && extent.rows < kFewRows) {
    const int64_t enough = divide_up(p.groups, kThreads * kGroupsEach), most = kMostBlocks / extent.rows;
    p.pieces = enough < most ? enough : most;
  }
  p.piece = divide_up(p.groups, p.pieces);
  p.pieces = divide_up(p.groups, p.piece);
  const int64_t blocks = divide_up(p.items(), kThreads / p.team());
  p.blocks = blocks < kMostBlocks ? blocks : kMostBlocks;
  return p;
}

// Doubles that a reduction needs besides its results: a block's or a piece's part of each loss.
inline int64_t workspace_size(const Extent& extent, Reduction reduction, int losses) {
  const bool needed = reduction == Reduction::total || (reduction == Reduction::event && extent.rows < kFewRows);
  return needed ? losses * kMostBlocks : 0;
}

}  // namespace genkern::cuda
