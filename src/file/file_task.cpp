// The calls of file.hpp, for tasks.
#include <thrum/file.hpp>

#include <utility>

#include "file/offload.hpp"
#include "file/system_calls.hpp"

namespace thrum {

task<file> file::async_open(std::string path, open_options options) {
  return files::async_demand("thrum: open", files::open_call{std::move(path), options});
}
task<file> file::async_open(std::string path, open_options options, std::error_code& error) {
  return files::async_report(error, files::open_call{std::move(path), options});
}

task<std::size_t> file::async_read_some(std::span<std::byte> buffer) {
  return files::async_demand("thrum: read", files::read_call{fd_, {}, buffer, false});
}
task<std::size_t> file::async_read_some(std::span<std::byte> buffer, std::error_code& error) {
  return files::async_report(error, files::read_call{fd_, {}, buffer, false});
}

task<std::size_t> file::async_read_all(std::span<std::byte> buffer) {
  return files::async_demand("thrum: read", files::read_call{fd_, {}, buffer, true});
}
task<std::size_t> file::async_read_all(std::span<std::byte> buffer, std::error_code& error) {
  return files::async_report(error, files::read_call{fd_, {}, buffer, true});
}

task<std::size_t> file::async_write_all(std::span<const std::byte> data) {
  return files::async_demand("thrum: write", files::write_call{fd_, {}, data});
}
task<std::size_t> file::async_write_all(std::span<const std::byte> data, std::error_code& error) {
  return files::async_report(error, files::write_call{fd_, {}, data});
}

task<std::size_t> file::async_read_at(std::uint64_t offset, std::span<std::byte> buffer) {
  return files::async_demand("thrum: read", files::read_call{fd_, offset, buffer, true});
}
task<std::size_t> file::async_read_at(std::uint64_t offset, std::span<std::byte> buffer, std::error_code& error) {
  return files::async_report(error, files::read_call{fd_, offset, buffer, true});
}

task<std::size_t> file::async_write_at(std::uint64_t offset, std::span<const std::byte> data) {
  return files::async_demand("thrum: write", files::write_call{fd_, offset, data});
}
task<std::size_t> file::async_write_at(std::uint64_t offset, std::span<const std::byte> data, std::error_code& error) {
  return files::async_report(error, files::write_call{fd_, offset, data});
}

task<void> file::async_sync() { return files::async_demand("thrum: sync", files::sync_call{fd_, false}); }
task<void> file::async_sync(std::error_code& error) { return files::async_report(error, files::sync_call{fd_, false}); }

task<void> file::async_data_sync() { return files::async_demand("thrum: data_sync", files::sync_call{fd_, true}); }
task<void> file::async_data_sync(std::error_code& error) {
  return files::async_report(error, files::sync_call{fd_, true});
}

task<std::uint64_t> file::async_size() { return files::async_demand("thrum: size of a file", files::size_call{fd_}); }
task<std::uint64_t> file::async_size(std::error_code& error) {
  return files::async_report(error, files::size_call{fd_});
}

task<void> file::async_truncate(std::uint64_t size) {
  return files::async_demand("thrum: truncate", files::truncate_call{fd_, size});
}
task<void> file::async_truncate(std::uint64_t size, std::error_code& error) {
  return files::async_report(error, files::truncate_call{fd_, size});
}

task<void> file::async_close() { return files::async_demand("thrum: close", files::close_call{*this}); }
task<void> file::async_close(std::error_code& error) { return files::async_report(error, files::close_call{*this}); }

task<std::string> async_read_file(std::string path) {
  return files::async_demand("thrum: read_file", files::read_file_call{std::move(path)});
}
task<std::string> async_read_file(std::string path, std::error_code& error) {
  return files::async_report(error, files::read_file_call{std::move(path)});
}

task<void> async_write_file(std::string path, std::string_view data) {
  return files::async_demand("thrum: write_file", files::write_file_call{std::move(path), data});
}
task<void> async_write_file(std::string path, std::string_view data, std::error_code& error) {
  return files::async_report(error, files::write_file_call{std::move(path), data});
}

task<file_info> async_stat_file(std::string path) {
  return files::async_demand("thrum: stat_file", files::stat_call{std::move(path)});
}
task<file_info> async_stat_file(std::string path, std::error_code& error) {
  return files::async_report(error, files::stat_call{std::move(path)});
}

task<std::vector<directory_entry>> async_list_directory(std::string path) {
  return files::async_demand("thrum: list_directory", files::list_call{std::move(path)});
}
task<std::vector<directory_entry>> async_list_directory(std::string path, std::error_code& error) {
  return files::async_report(error, files::list_call{std::move(path)});
}

task<void> async_make_directory(std::string path) {
  return files::async_demand("thrum: make_directory", files::make_directory_call{std::move(path)});
}
task<void> async_make_directory(std::string path, std::error_code& error) {
  return files::async_report(error, files::make_directory_call{std::move(path)});
}

task<void> async_remove_file(std::string path) {
  return files::async_demand("thrum: remove_file", files::remove_call{std::move(path)});
}
task<void> async_remove_file(std::string path, std::error_code& error) {
  return files::async_report(error, files::remove_call{std::move(path)});
}

task<void> async_rename_file(std::string from, std::string to) {
  return files::async_demand("thrum: rename_file", files::rename_call{std::move(from), std::move(to)});
}
task<void> async_rename_file(std::string from, std::string to, std::error_code& error) {
  return files::async_report(error, files::rename_call{std::move(from), std::move(to)});
}

}  // namespace thrum
