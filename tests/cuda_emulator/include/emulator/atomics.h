// Atomics and fences. Fibres are not preempted, so a plain build would need neither; ThreadSanitizer does. CUDA's
// atomics are relaxed and a fence orders them; here each atomic orders by itself, so a missing __threadfence does not
// show (README.md).
#pragma once

#include <bit>
#include <cstdint>

namespace emulator {

template <class T, class Change>
T atomic_change(T* address, Change change) {
  using Bits = std::conditional_t<sizeof(T) == 4, uint32_t, uint64_t>;
  auto* const bits = reinterpret_cast<Bits*>(address);
  Bits old = __atomic_load_n(bits, __ATOMIC_ACQUIRE);
  while (!__atomic_compare_exchange_n(bits, &old, std::bit_cast<Bits>(static_cast<T>(change(std::bit_cast<T>(old)))),
                                      false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) {
  }
  return std::bit_cast<T>(old);
}

// The one parameter of an overload that a call does not deduce from.
template <class T>
using plain = std::type_identity_t<T>;

template <class T>
concept Integer = std::is_same_v<T, int> || std::is_same_v<T, unsigned> || std::is_same_v<T, unsigned long long> ||
                  std::is_same_v<T, long long>;
template <class T>
concept Number = Integer<T> || std::is_same_v<T, float> || std::is_same_v<T, double>;

}  // namespace emulator

template <emulator::Number T>
T atomicAdd(T* address, emulator::plain<T> value) {
  return emulator::atomic_change(address, [=](T old) {
    if constexpr (std::is_integral_v<T>) {
      using U = std::make_unsigned_t<T>;  // an atomic wraps
      return static_cast<T>(static_cast<U>(old) + static_cast<U>(value));
    } else {
      return old + value;
    }
  });
}
template <emulator::Integer T>
T atomicSub(T* address, emulator::plain<T> value) {
  using U = std::make_unsigned_t<T>;
  return emulator::atomic_change(address,
                                 [=](T old) { return static_cast<T>(static_cast<U>(old) - static_cast<U>(value)); });
}
template <emulator::Number T>
T atomicExch(T* address, emulator::plain<T> value) {
  return emulator::atomic_change(address, [=](T) { return value; });
}
template <emulator::Integer T>
T atomicCAS(T* address, emulator::plain<T> compare, emulator::plain<T> value) {
  return emulator::atomic_change(address, [=](T old) { return old == compare ? value : old; });
}
template <emulator::Integer T>
T atomicMax(T* address, emulator::plain<T> value) {
  return emulator::atomic_change(address, [=](T old) { return old > value ? old : value; });
}
template <emulator::Integer T>
T atomicMin(T* address, emulator::plain<T> value) {
  return emulator::atomic_change(address, [=](T old) { return old < value ? old : value; });
}
template <emulator::Integer T>
T atomicOr(T* address, emulator::plain<T> value) {
  return emulator::atomic_change(address, [=](T old) { return old | value; });
}
template <emulator::Integer T>
T atomicAnd(T* address, emulator::plain<T> value) {
  return emulator::atomic_change(address, [=](T old) { return old & value; });
}
template <emulator::Integer T>
T atomicXor(T* address, emulator::plain<T> value) {
  return emulator::atomic_change(address, [=](T old) { return old ^ value; });
}
inline unsigned atomicInc(unsigned* address, unsigned last) {
  return emulator::atomic_change(address, [=](unsigned old) { return old >= last ? 0u : old + 1u; });
}
inline unsigned atomicDec(unsigned* address, unsigned last) {
  return emulator::atomic_change(address, [=](unsigned old) { return old == 0 || old > last ? last : old - 1u; });
}

inline void __threadfence() { asm volatile("" ::: "memory"); }
inline void __threadfence_block() { asm volatile("" ::: "memory"); }
inline void __threadfence_system() { asm volatile("" ::: "memory"); }
