// For tests: a stream that gives what it was told to, in the pieces it was told to, and takes as much at a time.
#pragma once

#include <algorithm>
#include <cstddef>
#include <deque>
#include <initializer_list>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include <thrum/task.hpp>

namespace thrum::test {

struct scripted_stream {
  struct step {
    std::string text;  // Empty without an error: the end.
    std::errc failure{};
  };
  std::deque<step> steps;  // After them comes the end.
  std::string taken;
  std::size_t takes_at_most = std::numeric_limits<std::size_t>::max();
  std::size_t writes_until_failure = std::numeric_limits<std::size_t>::max();
  int reads = 0, writes = 0;

  std::size_t read_some(std::span<std::byte> out, std::error_code& error) {
    ++reads;
    error.clear();
    if (steps.empty()) return 0;
    auto& next = steps.front();
    if (next.failure != std::errc{}) error = std::make_error_code(next.failure);
    const auto n = std::min(out.size(), next.text.size());
    std::ranges::copy(std::as_bytes(std::span(next.text)).first(n), out.begin());
    next.text.erase(0, n);
    if (next.text.empty()) steps.pop_front();
    return n;
  }
  std::size_t write_some(std::span<const std::byte> data, std::error_code& error) {
    ++writes;
    error.clear();
    if (writes_until_failure-- == 0) {
      error = std::make_error_code(std::errc::no_buffer_space);
      return 0;
    }
    const auto n = std::min(data.size(), takes_at_most);
    taken.append(reinterpret_cast<const char*>(data.data()), n);
    return n;
  }
  task<std::size_t> async_read_some(std::span<std::byte> out, std::error_code& error) {
    co_return read_some(out, error);
  }
  task<std::size_t> async_write_some(std::span<const std::byte> data, std::error_code& error) {
    co_return write_some(data, error);
  }
};

inline scripted_stream pieces(std::initializer_list<std::string_view> texts) {
  scripted_stream s;
  for (const auto t : texts) s.steps.push_back({std::string(t), {}});
  return s;
}

inline std::string text_of(std::span<const std::byte> b) { return {reinterpret_cast<const char*>(b.data()), b.size()}; }

}  // namespace thrum::test
