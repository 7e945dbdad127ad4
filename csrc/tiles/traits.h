// Constants by which a tile tells the drivers of both backends what is special about it.
#pragma once

#include <type_traits>

#include "kernels.h"

namespace genkern {

// is_plain(arguments) says whether their scales are plain (math/scale.h), for which kernels are compiled apart. An
// answer that is known without the arguments has a type of its own: std::true_type or std::false_type.
template <class A>
using IsPlain = decltype(is_plain(std::declval<const A&>()));

// `static constexpr bool kKeepsRows = true`: rows stay rows even where nothing is summed over them.
template <class Tile, class = void>
inline constexpr bool kKeepsRows = false;
template <class Tile>
inline constexpr bool kKeepsRows<Tile, std::void_t<decltype(Tile::kKeepsRows)>> = Tile::kKeepsRows;

// `static constexpr bool kFlushes = true`: what lies far out in a tail is only added to more, or scaled down once more,
// so that the CPU may flush subnormal results to 0.
template <class Tile, class = void>
inline constexpr bool kFlushes = false;
template <class Tile>
inline constexpr bool kFlushes<Tile, std::void_t<decltype(Tile::kFlushes)>> = Tile::kFlushes;

// `static constexpr bool kSums = true`: where a CPU sums, behind `point(span)` it calls `sum(place, n)` of a stretch of
// the tile instead of the tile itself, whose values need not be there.
template <class Tile, class = void>
inline constexpr bool kSums = false;
template <class Tile>
inline constexpr bool kSums<Tile, std::void_t<decltype(Tile::kSums)>> = Tile::kSums;

// `static constexpr int kMostElements = 4`: a GPU's thread takes no more at once, since the tile's many tensors would
// not fit its registers.
template <class Tile, class = void>
inline constexpr int kMostElements = 16;
template <class Tile>
inline constexpr int kMostElements<Tile, std::void_t<decltype(Tile::kMostElements)>> = Tile::kMostElements;

// The losses among the operands of a launch.
template <class A>
struct LossesOf {
  static constexpr int count = [] {
    int found = 0;
    A{}.each_operand([&](const auto& o) { found += std::is_same_v<decltype(o), const Loss&>; });
    return found;
  }();
  const Loss* at[count ? count : 1] = {};

  explicit LossesOf(const A& a) {
    int found = 0;
    a.each_operand([&](const auto& o) {
      if constexpr (std::is_same_v<decltype(o), const Loss&>) at[found++] = &o;
    });
  }
};

// A tile whose call takes no values is mapped; of one whose call may do without, the loss may be absent.
template <class E, class Tile>
inline constexpr bool kMaps = std::is_invocable_v<Tile&, const typename E::Span&>;

}  // namespace genkern
