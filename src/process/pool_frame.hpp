// What a pool and its workers say to each other: frames, a header and its payload, through one pipe in each direction.
//
//   pool     setup, then calls, one at a time
//   worker   hello, then an answer to each
//
// Every frame of a worker carries its pool's cookie and the number of the call, so that bytes which somebody in the
// worker has written by mistake are no answer. Descriptors go through a socket beside the pipes, before their frame.
#pragma once

#include <cstddef>
#include <cstdint>

#include <thrum/wire.hpp>

namespace thrum::detail {

enum class frame_kind : std::uint32_t {
  setup = 1,
  call,
  hello,
  result,
  exception,  // The payload is text.
  out_of_memory,
  bad_arguments,
};

struct frame_header {
  std::uint64_t cookie;
  std::uint64_t sequence;
  std::uint64_t size;  // Of the payload.
  frame_kind kind;
  std::uint32_t descriptors;
};

// Where code is, in every process of this program: an offset in a module. The program itself is module 0.
struct code_place {
  std::uint64_t module;
  std::uint64_t offset;
};
// False: in no module that the program was linked with.
bool locate_code(const void* code, code_place& place) noexcept;
void* code_at(const code_place& place) noexcept;  // Null: there is no such.

struct call_header {
  frame_header frame;
  code_place thunk, function;
};

struct worker_setup {
  frame_header frame;
  std::uint64_t memory_max;
  std::int64_t cpu_time_max_ns;
};

static_assert(sizeof(frame_header) % wire_alignment == 0 && sizeof(call_header) % wire_alignment == 0,
              "payloads are aligned");

inline constexpr std::size_t descriptors_max = 16;  // In one message.

// A worker's ends have these numbers.
namespace worker_fd {
inline constexpr int calls = 3, answers = 4, descriptors = 5, life = 6, end = 7;
}
inline constexpr const char* worker_word = "--thrum-pool-worker";  // Its one argument.

// Neither waits. False: with errno; or when as many have not come.
bool send_descriptors(int socket, std::vector<net::descriptor>& all) noexcept;
bool receive_descriptors(int socket, std::size_t count, std::vector<net::descriptor>& into);

}  // namespace thrum::detail
