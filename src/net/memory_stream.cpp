// Pipes in memory: the loops around a byte_queue, for fibers and threads, and for tasks.
#include <thrum/net/memory_stream.hpp>

#include <optional>
#include <utility>

#include <thrum/cancelled.hpp>
#include <thrum/detail/transfer.hpp>
#include <thrum/wait_on_address.hpp>

#include "net/byte_queue.hpp"
#include "net/stream_loops.hpp"

namespace thrum::net {
namespace {

using detail::byte_queue;

void wait_for_change(const byte_queue::count& changes, std::uint32_t seen, std::error_code& error) {
  try {
    wait_on_address(changes, seen);
  } catch (const cancelled&) {
    error = std::make_error_code(std::errc::operation_canceled);
  }
}

task<void> async_wait_for_change(const byte_queue::count& changes, std::uint32_t seen, std::error_code& error) {
  try {
    co_await async_wait_on_address(changes, seen);
  } catch (const cancelled&) {
    error = std::make_error_code(std::errc::operation_canceled);
  }
}

}  // namespace

template class input_calls<memory_stream>;
template class output_calls<memory_stream>;

memory_stream::memory_stream(std::shared_ptr<byte_queue> in, std::shared_ptr<byte_queue> out) noexcept
    : in_(std::move(in)), out_(std::move(out)) {}

std::pair<memory_stream, memory_stream> memory_stream::pair(std::size_t capacity) {
  auto forth = std::make_shared<byte_queue>(capacity);
  auto back = std::make_shared<byte_queue>(capacity);
  memory_stream first(back, forth);
  return {std::move(first), memory_stream(std::move(forth), std::move(back))};
}

bool memory_stream::is_open() const noexcept { return in_ && in_->reader_is_open(); }

void memory_stream::close() noexcept {
  if (!in_) return;
  in_->close_reader();
  out_->close_writer();
}

void memory_stream::shutdown_write(std::error_code& error) noexcept {
  if (out_)
    out_->end(error);
  else
    error = std::make_error_code(std::errc::bad_file_descriptor);
}

void memory_stream::shutdown_write() {
  or_throw("thrum: shutdown_write", [&](auto& error) { shutdown_write(error); });
}

// Of an end that nothing was made of.
bool memory_stream::may_write(std::error_code& error) const noexcept {
  if (!out_) error = std::make_error_code(std::errc::bad_file_descriptor);
  if (broken_) error = std::make_error_code(std::errc::broken_pipe);
  return !error;
}

std::size_t memory_stream::read_some(std::span<std::byte> buffer, std::error_code& error) {
  if (!detail::begin_transfer(error)) return 0;
  if (!in_) error = std::make_error_code(std::errc::bad_file_descriptor);
  std::uint32_t seen = 0;
  while (!error) {
    if (const auto n = in_->read(buffer, seen, error)) return *n;
    wait_for_change(in_->changes_for_reader(), seen, error);
  }
  return 0;
}

task<std::size_t> memory_stream::async_read_some(std::span<std::byte> buffer, std::error_code& error) {
  if (!detail::async_begin_transfer(error)) co_return 0;
  if (!in_) error = std::make_error_code(std::errc::bad_file_descriptor);
  std::uint32_t seen = 0;
  while (!error) {
    if (const auto n = in_->read(buffer, seen, error)) co_return *n;
    co_await async_wait_for_change(in_->changes_for_reader(), seen, error);
  }
  co_return 0;
}

std::size_t memory_stream::write_some(std::span<const std::byte> data, std::error_code& error) {
  if (!detail::begin_transfer(error) || !may_write(error)) return 0;
  std::uint32_t seen = 0;
  while (!error) {
    if (const auto n = out_->write(data, seen, error)) return *n;
    wait_for_change(out_->changes_for_writer(), seen, error);
  }
  return 0;
}

task<std::size_t> memory_stream::async_write_some(std::span<const std::byte> data, std::error_code& error) {
  if (!detail::async_begin_transfer(error) || !may_write(error)) co_return 0;
  std::uint32_t seen = 0;
  while (!error) {
    if (const auto n = out_->write(data, seen, error)) co_return *n;
    co_await async_wait_for_change(out_->changes_for_writer(), seen, error);
  }
  co_return 0;
}

}  // namespace thrum::net
