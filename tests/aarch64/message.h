// What goes from the process of a test to the machine and back, over two pipes. Both are little-endian, have 64-bit
// pointers and lay the structs of kernels.h out alike.
//
// A launch is a Header, the arguments, and `pieces` times a Piece and its bytes; the answer is the status' length and
// text and, of each piece that may have been written, the bytes.
#pragma once

#include <unistd.h>

#include <cstdint>

namespace genkern {

struct Header {
  uint32_t kernel;     // its place in kernels.def
  uint32_t arguments;  // bytes
  uint64_t pieces;
};

struct Piece {
  uint64_t address, size;
  bool written;
};

// False: the other end is gone.
inline bool send(int to, const void* data, uint64_t size) {
  for (const char* from = static_cast<const char*>(data); size > 0;) {
    const ssize_t n = ::write(to, from, size);
    if (n <= 0) return false;
    from += n, size -= n;
  }
  return true;
}
inline bool receive(int from, void* data, uint64_t size) {
  for (char* to = static_cast<char*>(data); size > 0;) {
    const ssize_t n = ::read(from, to, size);
    if (n <= 0) return false;
    to += n, size -= n;
  }
  return true;
}

}  // namespace genkern
