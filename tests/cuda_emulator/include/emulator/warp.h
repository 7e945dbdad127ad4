// Barriers, shuffles and votes.
#pragma once

#include <bit>
#include <cstring>
#include <type_traits>

#include "emulator/device.h"

inline constexpr unsigned emulator_full_mask = 0xFFFFFFFFu;

inline void __syncthreads() { emulator::block_barrier(emulator::Op::syncthreads, false); }
inline int __syncthreads_count(int predicate) {
  return emulator::block_barrier(emulator::Op::syncthreads_count, predicate != 0);
}
inline int __syncthreads_or(int predicate) {
  return emulator::block_barrier(emulator::Op::syncthreads_or, predicate != 0) != 0;
}
inline int __syncthreads_and(int predicate) {
  const int holds = emulator::block_barrier(emulator::Op::syncthreads_and, predicate != 0);
  return holds == static_cast<int>(emulator::threads_in_block());
}

inline void __syncwarp(unsigned mask = emulator_full_mask) {
  emulator::warp_meeting(emulator::Op::syncwarp, mask, 0, 0);
}

inline unsigned __ballot_sync(unsigned mask, int predicate) {
  return static_cast<unsigned>(emulator::warp_meeting(emulator::Op::ballot, mask, 0, predicate != 0));
}
inline int __any_sync(unsigned mask, int predicate) {
  return emulator::warp_meeting(emulator::Op::any, mask, 0, predicate != 0) != 0;
}
inline int __all_sync(unsigned mask, int predicate) {
  return emulator::warp_meeting(emulator::Op::all, mask, 0, predicate != 0) == (mask & emulator::warp_lanes());
}

// The lanes that have not ended: threads here never run in step, so there is no narrower meaning of "active".
inline unsigned __activemask() { return emulator::live_lanes(); }

namespace emulator {

template <class T>
T shuffle(Op op, unsigned mask, T value, unsigned source) {
  static_assert(std::is_arithmetic_v<T> && (sizeof(T) == 4 || sizeof(T) == 8), "CUDA shuffles 4 or 8 bytes");
  uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof(T));
  bits = warp_meeting(op, mask, source, bits);
  std::memcpy(&value, &bits, sizeof(T));
  return value;
}

// The first lane of the caller's segment. Source lanes below follow PTX's shfl.sync, which takes its operand
// modulo 32.
inline unsigned segment(int width) {
  if (width < 1 || width > 32 || !std::has_single_bit(static_cast<unsigned>(width)))
    fail("shuffles with a width that is no power of two up to 32");
  return lane() & ~static_cast<unsigned>(width - 1);
}

}  // namespace emulator

template <class T>
T __shfl_sync(unsigned mask, T value, int source, int width = 32) {
  const unsigned from = emulator::segment(width) | (static_cast<unsigned>(source) & static_cast<unsigned>(width - 1));
  return emulator::shuffle(emulator::Op::shfl, mask, value, from);
}
template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32) {
  const unsigned first = emulator::segment(width), own = emulator::lane();
  const unsigned from = own - first >= (delta & 31) ? own - (delta & 31) : own;
  return emulator::shuffle(emulator::Op::shfl_up, mask, value, from);
}
template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32) {
  const unsigned last = emulator::segment(width) + static_cast<unsigned>(width) - 1, own = emulator::lane();
  const unsigned from = own + (delta & 31) <= last ? own + (delta & 31) : own;
  return emulator::shuffle(emulator::Op::shfl_down, mask, value, from);
}
// A lane of an earlier segment may be read, one of a later segment not.
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int lane_mask, int width = 32) {
  const unsigned last = emulator::segment(width) + static_cast<unsigned>(width) - 1, own = emulator::lane();
  const unsigned other = own ^ (static_cast<unsigned>(lane_mask) & 31);
  return emulator::shuffle(emulator::Op::shfl_xor, mask, value, other <= last ? other : own);
}
