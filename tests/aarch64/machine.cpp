// The other processor: runs launches that come on standard input by the kernels compiled for it, and answers on
// standard output. Without torch, as everything below csrc/ops.
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "cpu/dispatch.h"
#include "memory.h"
#include "message.h"

namespace genkern {
namespace {

// The pieces of a launch, at addresses of this process.
class Pieces {
 public:
  bool receive_all(uint64_t count) {
    for (uint64_t i = 0; i < count; ++i) {
      Piece piece;
      if (!receive(STDIN_FILENO, &piece, sizeof piece)) return false;
      // As far from a line of the cache as it was: a kernel may look.
      found_.push_back({piece, std::make_unique<char[]>(piece.size + 2 * kLine)});
      if (!receive(STDIN_FILENO, found_.back().data(), piece.size)) return false;
    }
    return true;
  }
  bool send_written() const {
    for (const Found& found : found_)
      if (found.piece.written && !send(STDOUT_FILENO, found.data(), found.piece.size)) return false;
    return true;
  }
  template <class T>
  void translate(T*& pointer, int64_t size) const {
    if (!pointer || size <= 0) return;
    const uint64_t address = reinterpret_cast<uint64_t>(pointer);
    for (const Found& found : found_)
      if (address >= found.piece.address && address + size <= found.piece.address + found.piece.size)
        return void(pointer = reinterpret_cast<T*>(found.data() + (address - found.piece.address)));
    std::abort();  // both ends have memory.h
  }

 private:
  static constexpr uint64_t kLine = 64;
  struct Found {
    Piece piece;
    std::unique_ptr<char[]> memory;
    char* data() const {
      const uint64_t from = reinterpret_cast<uint64_t>(memory.get());
      return memory.get() + (piece.address - from) % kLine;
    }
  };
  std::vector<Found> found_;
};

template <class A>
int64_t workspace_of(const Kernels& k, const A& a) {
  Reduction reduction = Reduction::none;
  int losses = 0;
  if constexpr (requires { a.each_operand([](const auto&) {}); })
    a.each_operand([&](const auto& o) {
      if constexpr (std::is_same_v<decltype(o), const Loss&>)
        if (o.out) reduction = o.reduction, ++losses;
    });
  if constexpr (requires { a.extent; })
    if (losses) return k.workspace(a.extent, reduction, losses);
  return 0;
}

bool answer(Status status, const Pieces& pieces) {
  const uint64_t length = status ? std::strlen(status) : 0;
  return send(STDOUT_FILENO, &length, sizeof length) && send(STDOUT_FILENO, status, length) && pieces.send_written();
}

template <class A>
bool serve(const char* name, const Header& header, Status (*kernel)(const A&, const Launch&),
           int64_t (*workspace)(const Kernels&, const A&)) {
  A a;
  Pieces pieces;
  if (header.arguments != sizeof a || !receive(STDIN_FILENO, &a, sizeof a) || !pieces.receive_all(header.pieces))
    return false;
  each_memory(name, a, [&](auto*& pointer, int64_t size) { pieces.translate(pointer, size); });
  std::vector<double> doubles(workspace(cpu_kernels(), a));
  unsigned ticket = 0;
  Launch launch;
  launch.workspace = doubles.data();
  launch.ticket = &ticket;
  launch.parallel.run = [](int64_t n, int64_t, void (*f)(void*, int64_t, int64_t), void* context) {
    // In two parts, the second first: none may wait for another.
    f(context, n / 2, n);
    if (n > 1) f(context, 0, n / 2);
  };
  return answer(kernel(a, launch), pieces);
}

bool serve(const Header& header) {
  const Kernels& k = cpu_kernels();
  uint32_t place = 0;
#define KERNEL(name, Arguments) \
  if (header.kernel == place++) return serve<Arguments>(#name, header, k.name, workspace_of<Arguments>);
#define WORKSPACE(name, Arguments)                 \
  if (header.kernel == place++)                    \
    return serve<Arguments>(#name, header, k.name, \
                            [](const Kernels& k, const Arguments& a) { return k.name##_workspace(a); });
#include "kernels.def"
  return false;
}

}  // namespace
}  // namespace genkern

int main(int count, char** words) {
  using namespace genkern;
  if (count > 1 && !choose_cpu_kernels(words[1])) return 2;
  Header header;
  while (receive(STDIN_FILENO, &header, sizeof header))
    if (!serve(header)) return 1;
  return 0;
}
