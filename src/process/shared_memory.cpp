// Sealed memory files.
#include <thrum/shared_memory.hpp>

#include <cerrno>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "process/pipe_calls.hpp"

namespace thrum {
namespace {

constexpr int size_seals = F_SEAL_SHRINK | F_SEAL_GROW;

template <class Call>
auto memory_or_throw(Call call) {
  std::error_code error;
  auto result = call(error);
  if (error) throw std::system_error(error, "thrum: shared memory");
  return result;
}

}  // namespace

shared_memory& shared_memory::operator=(shared_memory&& other) noexcept {
  shared_memory moved(std::move(other));
  std::swap(fd_, moved.fd_);
  std::swap(data_, moved.data_);
  std::swap(size_, moved.size_);
  std::swap(frozen_, moved.frozen_);
  return *this;
}

shared_memory::~shared_memory() {
  if (data_) ::munmap(data_, size_);
}

// Of frozen memory a private mapping: before Linux 6.7 there was no other, and nobody writes, so no page is copied.
bool shared_memory::map(std::error_code& error) noexcept {
  if (size_ == 0) return true;
  const int access = frozen_ ? PROT_READ : PROT_READ | PROT_WRITE;
  void* at = ::mmap(nullptr, size_, access, frozen_ ? MAP_PRIVATE : MAP_SHARED, fd_.native_handle(), 0);
  if (at == MAP_FAILED) error = detail::last_system_error();
  data_ = at == MAP_FAILED ? nullptr : static_cast<std::byte*>(at);
  return !error;
}

shared_memory shared_memory::create(std::size_t size, std::error_code& error) noexcept {
  error.clear();
  shared_memory m;
  m.fd_ = net::descriptor(::memfd_create("thrum", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!m.fd_.is_open() || ::ftruncate(m.fd_.native_handle(), static_cast<off_t>(size)) != 0 ||
      ::fcntl(m.fd_.native_handle(), F_ADD_SEALS, size_seals) != 0) {
    error = detail::last_system_error();
    return {};
  }
  m.size_ = size;
  return m.map(error) ? std::move(m) : shared_memory();
}

shared_memory shared_memory::create(std::size_t size) {
  return memory_or_throw([&](auto& error) { return create(size, error); });
}

shared_memory shared_memory::adopt(net::descriptor d, std::error_code& error) noexcept {
  error.clear();
  shared_memory m;
  m.fd_ = std::move(d);
  struct stat s;
  const int seals = ::fcntl(m.fd_.native_handle(), F_GET_SEALS);
  if (seals < 0 || (seals & size_seals) != size_seals || ::fstat(m.fd_.native_handle(), &s) != 0) {
    error = std::make_error_code(std::errc::invalid_argument);
    return {};
  }
  m.size_ = static_cast<std::size_t>(s.st_size);
  m.frozen_ = (seals & F_SEAL_WRITE) != 0;
  return m.map(error) ? std::move(m) : shared_memory();
}

shared_memory shared_memory::adopt(net::descriptor d) {
  return memory_or_throw([&](auto& error) { return adopt(std::move(d), error); });
}

std::span<std::byte> shared_memory::bytes() {
  if (frozen_) throw std::system_error(std::make_error_code(std::errc::permission_denied), "thrum: shared memory");
  return {data_, size_};
}

// The seal is refused while there is a mapping that can be written, ours too.
void shared_memory::freeze(std::error_code& error) noexcept {
  error.clear();
  if (frozen_ || !fd_.is_open()) return;
  if (data_) ::munmap(std::exchange(data_, nullptr), size_);
  frozen_ = ::fcntl(fd_.native_handle(), F_ADD_SEALS, F_SEAL_WRITE) == 0;
  if (!frozen_) error = detail::last_system_error();
  std::error_code unmapped;
  if (!map(unmapped)) {
    size_ = 0;
    error = unmapped;
  }
}

void shared_memory::freeze() {
  std::error_code error;
  freeze(error);
  if (error) throw std::system_error(error, "thrum: shared memory cannot be frozen");
}

void wire_format<shared_memory>::write(wire_writer& to, const shared_memory& memory) {
  to.write(memory.native_handle() >= 0);
  if (memory.native_handle() < 0) return;
  net::descriptor copy(::fcntl(memory.native_handle(), F_DUPFD_CLOEXEC, 3));
  if (!copy.is_open()) throw std::system_error(detail::last_system_error(), "thrum: shared memory cannot be sent");
  to.put(std::move(copy));
}

shared_memory wire_format<shared_memory>::read(wire_reader& from) {
  if (!from.read<bool>()) return {};
  std::error_code error;
  auto memory = shared_memory::adopt(from.take_descriptor(), error);
  if (error == std::errc::invalid_argument) throw wire_error("thrum: what came is no sealed memory");
  if (error) throw std::system_error(error, "thrum: shared memory cannot be mapped");
  return memory;
}

}  // namespace thrum
