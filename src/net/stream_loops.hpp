// The definitions of stream_calls.hpp, which each stream instantiates in one of its sources; and how a call that
// reports in an error_code becomes one that throws.
#pragma once

#include <cstddef>
#include <span>
#include <system_error>
#include <type_traits>

#include <thrum/detail/transfer.hpp>
#include <thrum/net/stream_calls.hpp>
#include <thrum/task.hpp>

namespace thrum::net {

// call(error), whose error is thrown.
template <class Call>
auto or_throw(const char* what, Call call) {
  std::error_code error;
  if constexpr (std::is_void_v<std::invoke_result_t<Call&, std::error_code&>>) {
    call(error);
    detail::raise_if(error, what);
  } else {
    auto result = call(error);
    detail::raise_if(error, what);
    return result;
  }
}

// What exceptions say. A stream with words of its own specialises it.
struct stream_words {
  const char *read, *read_exactly, *write, *write_all;
};
template <class Stream>
inline constexpr stream_words words_of{"thrum: read", "thrum: read_exactly", "thrum: write", "thrum: write_all"};

// ---------------------------------------------------------------------------------------------------------------

template <class Stream>
std::size_t input_calls<Stream>::read_some(std::span<std::byte> buffer) {
  return or_throw(words_of<Stream>.read, [&](auto& error) { return self().read_some(buffer, error); });
}

template <class Stream>
task<std::size_t> input_calls<Stream>::async_read_some(std::span<std::byte> buffer) {
  std::error_code error;
  const auto n = co_await self().async_read_some(buffer, error);
  detail::raise_if(error, words_of<Stream>.read);
  co_return n;
}

template <class Stream>
std::size_t input_calls<Stream>::read_exactly(std::span<std::byte> buffer, std::error_code& error) {
  std::size_t done = 0;
  error.clear();
  while (done < buffer.size() && !error) {
    const auto n = self().read_some(buffer.subspan(done), error);
    if (n == 0 && !error) error = std::make_error_code(std::errc::connection_aborted);
    done += n;
  }
  return done;
}

template <class Stream>
void input_calls<Stream>::read_exactly(std::span<std::byte> buffer) {
  or_throw(words_of<Stream>.read_exactly, [&](auto& error) { read_exactly(buffer, error); });
}

template <class Stream>
task<std::size_t> input_calls<Stream>::async_read_exactly(std::span<std::byte> buffer, std::error_code& error) {
  std::size_t done = 0;
  error.clear();
  while (done < buffer.size() && !error) {
    const auto n = co_await self().async_read_some(buffer.subspan(done), error);
    if (n == 0 && !error) error = std::make_error_code(std::errc::connection_aborted);
    done += n;
  }
  co_return done;
}

// Not by the other one: streams that wait here are many, and each frame counts.
template <class Stream>
task<void> input_calls<Stream>::async_read_exactly(std::span<std::byte> buffer) {
  std::error_code error;
  for (std::size_t done = 0; done < buffer.size();) {
    const auto n = co_await self().async_read_some(buffer.subspan(done), error);
    if (n == 0 && !error) error = std::make_error_code(std::errc::connection_aborted);
    detail::raise_if(error, words_of<Stream>.read_exactly);
    done += n;
  }
}

// ---------------------------------------------------------------------------------------------------------------

template <class Stream>
std::size_t output_calls<Stream>::write_some(std::span<const std::byte> data) {
  return or_throw(words_of<Stream>.write, [&](auto& error) { return self().write_some(data, error); });
}

template <class Stream>
task<std::size_t> output_calls<Stream>::async_write_some(std::span<const std::byte> data) {
  std::error_code error;
  const auto n = co_await self().async_write_some(data, error);
  detail::raise_if(error, words_of<Stream>.write);
  co_return n;
}

template <class Stream>
std::size_t output_calls<Stream>::write_all(std::span<const std::byte> data, std::error_code& error) {
  std::size_t done = 0;
  error.clear();
  while (done < data.size() && !error) done += self().write_some(data.subspan(done), error);
  if (error && done > 0) self().break_off();  // The peer has part of a message: nothing sensible can follow it.
  return done;
}

template <class Stream>
void output_calls<Stream>::write_all(std::span<const std::byte> data) {
  or_throw(words_of<Stream>.write_all, [&](auto& error) { write_all(data, error); });
}

template <class Stream>
task<std::size_t> output_calls<Stream>::async_write_all(std::span<const std::byte> data, std::error_code& error) {
  std::size_t done = 0;
  error.clear();
  while (done < data.size() && !error) done += co_await self().async_write_some(data.subspan(done), error);
  if (error && done > 0) self().break_off();  // As above.
  co_return done;
}

template <class Stream>
task<void> output_calls<Stream>::async_write_all(std::span<const std::byte> data) {
  std::error_code error;
  (void)co_await async_write_all(data, error);
  detail::raise_if(error, words_of<Stream>.write_all);
}

}  // namespace thrum::net
