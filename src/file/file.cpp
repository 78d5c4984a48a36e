// The calls of file.hpp, for fibers and threads.
#include <thrum/file.hpp>

#include <utility>

#include <unistd.h>

#include "blocking/call_ring.hpp"
#include "file/kernel.hpp"
#include "file/offload.hpp"
#include "file/system_calls.hpp"
#include "os/errno.hpp"

namespace thrum {

file::~file() {
  if (fd_ >= 0) files::kernel::close(fd_);
}

file file::open(std::string path, const open_options& options) {
  return files::demand("thrum: open", files::open_call{std::move(path), options});
}
file file::open(std::string path, const open_options& options, std::error_code& error) {
  return files::report(error, files::open_call{std::move(path), options});
}

void file::seek(std::uint64_t offset) {
  if (files::kernel::seek(fd_, static_cast<std::int64_t>(offset), SEEK_SET) < 0)
    throw std::system_error(os::error_number(), std::generic_category(), "thrum: seek");
}

std::uint64_t file::position() const {
  const auto at = files::kernel::seek(fd_, 0, SEEK_CUR);
  if (at < 0) throw std::system_error(os::error_number(), std::generic_category(), "thrum: position");
  return static_cast<std::uint64_t>(at);
}

std::size_t file::read_some(std::span<std::byte> buffer) {
  return files::demand("thrum: read", files::read_call{fd_, {}, buffer, false});
}
std::size_t file::read_some(std::span<std::byte> buffer, std::error_code& error) {
  return files::report(error, files::read_call{fd_, {}, buffer, false});
}

std::size_t file::read_all(std::span<std::byte> buffer) {
  return files::demand("thrum: read", files::read_call{fd_, {}, buffer, true});
}
std::size_t file::read_all(std::span<std::byte> buffer, std::error_code& error) {
  return files::report(error, files::read_call{fd_, {}, buffer, true});
}

std::size_t file::write_all(std::span<const std::byte> data) {
  return files::demand("thrum: write", files::write_call{fd_, {}, data});
}
std::size_t file::write_all(std::span<const std::byte> data, std::error_code& error) {
  return files::report(error, files::write_call{fd_, {}, data});
}

std::size_t file::read_at(std::uint64_t offset, std::span<std::byte> buffer) {
  return files::demand("thrum: read", files::read_call{fd_, offset, buffer, true});
}
std::size_t file::read_at(std::uint64_t offset, std::span<std::byte> buffer, std::error_code& error) {
  return files::report(error, files::read_call{fd_, offset, buffer, true});
}

std::size_t file::write_at(std::uint64_t offset, std::span<const std::byte> data) {
  return files::demand("thrum: write", files::write_call{fd_, offset, data});
}
std::size_t file::write_at(std::uint64_t offset, std::span<const std::byte> data, std::error_code& error) {
  return files::report(error, files::write_call{fd_, offset, data});
}

void file::sync() { return files::demand("thrum: sync", files::sync_call{fd_, false}); }
void file::sync(std::error_code& error) { return files::report(error, files::sync_call{fd_, false}); }

void file::data_sync() { return files::demand("thrum: data_sync", files::sync_call{fd_, true}); }
void file::data_sync(std::error_code& error) { return files::report(error, files::sync_call{fd_, true}); }

std::uint64_t file::size() { return files::demand("thrum: size of a file", files::size_call{fd_}); }
std::uint64_t file::size(std::error_code& error) { return files::report(error, files::size_call{fd_}); }

void file::truncate(std::uint64_t size) { return files::demand("thrum: truncate", files::truncate_call{fd_, size}); }
void file::truncate(std::uint64_t size, std::error_code& error) {
  return files::report(error, files::truncate_call{fd_, size});
}

void file::close() { return files::demand("thrum: close", files::close_call{*this}); }
void file::close(std::error_code& error) { return files::report(error, files::close_call{*this}); }

file_engine_choice file_engine() noexcept {
  const auto c = detail::the_call_ring().choice();
  return {.is_io_uring = c.is_ring, .reason = c.reason};
}

std::string read_file(std::string path) {
  return files::demand("thrum: read_file", files::read_file_call{std::move(path)});
}
std::string read_file(std::string path, std::error_code& error) {
  return files::report(error, files::read_file_call{std::move(path)});
}

void write_file(std::string path, std::string_view data) {
  return files::demand("thrum: write_file", files::write_file_call{std::move(path), data});
}
void write_file(std::string path, std::string_view data, std::error_code& error) {
  return files::report(error, files::write_file_call{std::move(path), data});
}

file_info stat_file(std::string path) { return files::demand("thrum: stat_file", files::stat_call{std::move(path)}); }
file_info stat_file(std::string path, std::error_code& error) {
  return files::report(error, files::stat_call{std::move(path)});
}

std::vector<directory_entry> list_directory(std::string path) {
  return files::demand("thrum: list_directory", files::list_call{std::move(path)});
}
std::vector<directory_entry> list_directory(std::string path, std::error_code& error) {
  return files::report(error, files::list_call{std::move(path)});
}

void make_directory(std::string path) {
  return files::demand("thrum: make_directory", files::make_directory_call{std::move(path)});
}
void make_directory(std::string path, std::error_code& error) {
  return files::report(error, files::make_directory_call{std::move(path)});
}

void remove_file(std::string path) { return files::demand("thrum: remove_file", files::remove_call{std::move(path)}); }
void remove_file(std::string path, std::error_code& error) {
  return files::report(error, files::remove_call{std::move(path)});
}

void rename_file(std::string from, std::string to) {
  return files::demand("thrum: rename_file", files::rename_call{std::move(from), std::move(to)});
}
void rename_file(std::string from, std::string to, std::error_code& error) {
  return files::report(error, files::rename_call{std::move(from), std::move(to)});
}

}  // namespace thrum
