// Memory that processes share, for arguments and results too large to be copied through a pipe.
//
//   auto image = thrum::shared_memory::create(width * height * 4);
//   render_into(image.bytes());
//   image.freeze();                              // Optional: from now on nobody can change it, in no process.
//   auto faces = pool.call(find_faces, image);   // The worker maps the same pages.
//
// The memory is a memfd(2) that is sealed against changing its size, so that no process can take pages away that
// another one reads. What is not frozen can be written by every process that has it, at any time: do not trust bytes
// that a worker may still change. Nothing here suspends. One fiber, task or thread at a time uses an object.
#pragma once

#include <cstddef>
#include <span>
#include <system_error>
#include <utility>

#include <thrum/net/descriptor.hpp>
#include <thrum/wire.hpp>

namespace thrum {

class shared_memory {
 public:
  shared_memory() noexcept = default;  // None: no bytes.
  shared_memory(shared_memory&& other) noexcept
      : fd_(std::move(other.fd_)),
        data_(std::exchange(other.data_, nullptr)),
        size_(std::exchange(other.size_, 0)),
        frozen_(std::exchange(other.frozen_, false)) {}
  shared_memory& operator=(shared_memory&& other) noexcept;
  ~shared_memory();  // The memory is given back when the last process that has it lets go of it.

  // Zeroes. Throws std::system_error: errc::not_enough_memory, errc::too_many_files_open.
  static shared_memory create(std::size_t size);
  static shared_memory create(std::size_t size, std::error_code& error) noexcept;

  // Takes over a descriptor that somebody has sent. errc::invalid_argument when it is no memory whose size is sealed.
  static shared_memory adopt(net::descriptor d);
  static shared_memory adopt(net::descriptor d, std::error_code& error) noexcept;

  // errc::permission_denied when it is frozen: throws std::system_error.
  std::span<std::byte> bytes();
  std::span<const std::byte> bytes() const noexcept { return {data_, size_}; }
  std::size_t size() const noexcept { return size_; }

  // Nobody can change the bytes any more. Throws std::system_error: errc::device_or_resource_busy while another process
  // has it mapped for writing. The bytes may be at another address afterwards.
  void freeze();
  void freeze(std::error_code& error) noexcept;
  bool frozen() const noexcept { return frozen_; }

  int native_handle() const noexcept { return fd_.native_handle(); }  // Stays owned. -1: none.

 private:
  bool map(std::error_code& error) noexcept;

  net::descriptor fd_;
  std::byte* data_ = nullptr;
  std::size_t size_ = 0;
  bool frozen_ = false;
};

// The receiver's own handle of the same memory.
template <>
struct wire_format<shared_memory> {
  static void write(wire_writer& to, const shared_memory& memory);  // Throws std::system_error.
  static shared_memory read(wire_reader& from);
};

}  // namespace thrum
