// Sends a file to a stream, from the page cache to the socket without a copy in the program.
//
//   auto f = thrum::file::open("index.html");
//   const auto n = thrum::send_file(connection, f);             // All of it.
//
// By sendfile(2), in pieces of at most 256 KiB, as long as the page cache has them; a piece that has to come from the
// disk is read on a thread of the pool (blocking.hpp) and written from memory, so that no worker waits for a disk. The
// same is done with all of them where the kernel refuses, and in simulations. Whether a piece is there is judged by its
// first and last byte: should one in between have been evicted, the worker is blocked for that, and loses its processor
// as with any call that blocks.
//
// Suspends, and is a cancellation point between pieces. Errors throw std::system_error; the overloads with an
// error_code report them there, cancellation included (errc::operation_canceled), and return how much was sent. The
// file's position is neither used nor moved, so several may send one file at a time. Sizes are in bytes.
#pragma once

#include <cstdint>
#include <system_error>

#include <thrum/file.hpp>
#include <thrum/net/byte_stream.hpp>

namespace thrum {

// `count` bytes from `offset` on, or up to the end of the file: returns how many. When it fails or is cancelled in the
// middle, the stream is unusable for writing, as after write_all().
std::uint64_t send_file(net::byte_stream& to, file& from, std::uint64_t offset = 0, std::uint64_t count = UINT64_MAX);
std::uint64_t send_file(net::byte_stream& to, file& from, std::uint64_t offset, std::uint64_t count,
                        std::error_code& error);

// For tasks, with <thrum/task.hpp>: co_await them. What they refer to must outlive the call.
task<std::uint64_t> async_send_file(net::byte_stream& to, file& from, std::uint64_t offset = 0,
                                    std::uint64_t count = UINT64_MAX);
task<std::uint64_t> async_send_file(net::byte_stream& to, file& from, std::uint64_t offset, std::uint64_t count,
                                    std::error_code& error);

}  // namespace thrum
