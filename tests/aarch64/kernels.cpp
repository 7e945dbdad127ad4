// A table of kernels, for genkern._C, that has each launch run by the machine (machine.cpp).
#include <sys/types.h>

#include <mutex>
#include <string>
#include <vector>

#include "memory.h"
#include "message.h"

namespace genkern {
namespace {

int to_machine = -1, from_machine = -1;
pid_t owner = 0;
std::mutex taking_turns;
std::string status;

struct Sent {
  Piece piece;
  std::vector<char> bytes;
};

// What the launch reads and writes; what overlaps is one piece.
template <class A>
std::vector<Piece> pieces_of(const char* name, A& a) {
  std::vector<Piece> all, merged;
  each_memory(name, a, [&]<class T>(T* pointer, int64_t size) {
    if (pointer && size > 0)
      all.push_back({reinterpret_cast<uint64_t>(pointer), static_cast<uint64_t>(size), !std::is_const_v<T>});
  });
  std::sort(all.begin(), all.end(), [](const Piece& a, const Piece& b) { return a.address < b.address; });
  for (const Piece& piece : all) {
    if (merged.empty() || piece.address >= merged.back().address + merged.back().size) {
      merged.push_back(piece);
    } else {
      Piece& last = merged.back();
      last.size = std::max(last.size, piece.address + piece.size - last.address);
      last.written |= piece.written;
    }
  }
  return merged;
}

bool exchange(const Header& header, const void* arguments, const std::vector<Piece>& pieces) {
  std::vector<Sent> sent;
  if (!send(to_machine, &header, sizeof header) || !send(to_machine, arguments, header.arguments)) return false;
  for (const Piece& piece : pieces) {
    const char* from = reinterpret_cast<const char*>(piece.address);
    sent.push_back({piece, {from, from + piece.size}});
    if (!send(to_machine, &piece, sizeof piece) || !send(to_machine, sent.back().bytes.data(), piece.size))
      return false;
  }
  uint64_t length = 0;
  if (!receive(from_machine, &length, sizeof length)) return false;
  status.resize(length);
  if (!receive(from_machine, status.data(), length)) return false;
  std::vector<char> bytes;
  for (const Sent& s : sent) {
    if (!s.piece.written) continue;
    bytes.resize(s.piece.size);
    if (!receive(from_machine, bytes.data(), s.piece.size)) return false;
    char* to = reinterpret_cast<char*>(s.piece.address);
    for (uint64_t i = 0; i < s.piece.size; ++i)
      if (bytes[i] != s.bytes[i]) to[i] = bytes[i];
  }
  return true;
}

constexpr const char* kNames[] = {
#define KERNEL(name, Arguments) #name,
#include "kernels.def"
};
constexpr uint32_t kCount = sizeof kNames / sizeof kNames[0];
int64_t launches[kCount];

template <uint32_t kKernel, class A>
Status run(const A& arguments, const Launch&) {
  const std::lock_guard turn(taking_turns);
  if (getpid() != owner) return "the machine is that of the process that was forked";
  A a = arguments;
  const std::vector<Piece> pieces = pieces_of(kNames[kKernel], a);
  if (!exchange({kKernel, sizeof a, pieces.size()}, &a, pieces)) return "the machine has stopped";
  ++launches[kKernel];
  return status.empty() ? nullptr : status.c_str();
}

template <class A>
int64_t no_workspace(const A&) {
  return 0;
}

}  // namespace
}  // namespace genkern

extern "C" {

// The table, whose launches go out by one file descriptor and come back by another.
const genkern::Kernels* remote_kernels(int to, int from) {
  using namespace genkern;
  to_machine = to, from_machine = from, owner = getpid();
  static const Kernels kernels = [] {
    enum : uint32_t {
#define KERNEL(name, Arguments) place_of_##name,
#include "kernels.def"
    };
    Kernels k{};
    k.name = "neon-emulated";
    k.workspace = [](const Extent&, Reduction, int) -> int64_t { return 0; };
#define KERNEL(name, Arguments) k.name = run<place_of_##name, Arguments>;
#define WORKSPACE(name, Arguments)              \
  k.name##_workspace = no_workspace<Arguments>; \
  KERNEL(name, Arguments)
#include "kernels.def"
    return k;
  }();
  return &kernels;
}

// How often a kernel, by its place in kernels.def, has run; its name; null and -1 behind the last.
const char* kernel_name(uint32_t place) { return place < genkern::kCount ? genkern::kNames[place] : nullptr; }
int64_t kernel_launches(uint32_t place) { return place < genkern::kCount ? genkern::launches[place] : -1; }
}
