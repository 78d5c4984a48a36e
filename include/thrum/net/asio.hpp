// Streams for libraries that are written against Boost.Asio's concepts: SyncReadStream and SyncWriteStream.
//
//   thrum::net::asio_stream stream(connection);                 // Any stream of ours; it must outlive the adapter.
//   boost::beast::flat_buffer buffer;
//   boost::beast::http::request<boost::beast::http::string_body> request;
//   boost::beast::http::read(stream, buffer, request);          // Suspends the fiber.
//
// Needs Boost 1.74 or later in the user's program, headers alone; the library itself does not use it. With Boost.Beast:
// HTTP, and websocket::stream<asio_stream<tcp_stream>&>.
//
// Calls suspend and are cancellation points. Errors are boost::system::error_code: the end of the stream is
// boost::asio::error::eof, cancellation boost::asio::error::operation_aborted, time-outs and deadlines
// boost::system::errc::timed_out. read_some() and write_some() themselves throw thrum::cancelled; a library that calls
// the overload with an error_code and throws for it, as Beast does, throws boost::system::system_error instead: where a
// scope may be cancelled, catch it.
//
// Only the synchronous calls are here: Asio's own asynchronous ones need its event loop. get_executor() is of an
// io_context that nobody runs. One fiber or thread may read while another writes, as with the stream itself.
#pragma once

#include <array>
#include <cstddef>
#include <span>
#include <system_error>

#include <boost/asio/buffer.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/beast/core/role.hpp>
#include <boost/system/error_code.hpp>
#include <boost/system/system_error.hpp>

#include <thrum/cancelled.hpp>

namespace thrum::net {

// Numbers of the system stay what they are; those of other categories become errc::io_error.
inline boost::system::error_code to_boost(const std::error_code& e) {
  if (!e) return {};
  const bool of_system = e.category() == std::generic_category() || e.category() == std::system_category();
  if (of_system) return {e.value(), boost::system::system_category()};
  return make_error_code(boost::system::errc::io_error);
}

template <class Stream>
class asio_stream {
 public:
  using executor_type = boost::asio::io_context::executor_type;

  explicit asio_stream(Stream& stream) noexcept : stream_(stream) {}

  Stream& stream() const noexcept { return stream_; }
  executor_type get_executor() const { return idle_context().get_executor(); }

  // At least one byte, unless the buffers are empty.
  template <class MutableBuffers>
  std::size_t read_some(const MutableBuffers& buffers) {
    return checked([&](auto& error) { return read_some(buffers, error); });
  }
  template <class MutableBuffers>
  std::size_t read_some(const MutableBuffers& buffers, boost::system::error_code& error) {
    error = {};
    for (auto i = boost::asio::buffer_sequence_begin(buffers); i != boost::asio::buffer_sequence_end(buffers); ++i) {
      const boost::asio::mutable_buffer first(*i);
      if (first.size() > 0) return read_into({static_cast<std::byte*>(first.data()), first.size()}, error);
    }
    return 0;
  }

  template <class ConstBuffers>
  std::size_t write_some(const ConstBuffers& buffers) {
    return checked([&](auto& error) { return write_some(buffers, error); });
  }
  // Several buffers are sent together: a header and its body, that is, in one packet.
  template <class ConstBuffers>
  std::size_t write_some(const ConstBuffers& buffers, boost::system::error_code& error) {
    error = {};
    boost::asio::const_buffer only;
    std::size_t pieces = 0;
    for (auto i = boost::asio::buffer_sequence_begin(buffers); i != boost::asio::buffer_sequence_end(buffers); ++i) {
      const boost::asio::const_buffer next(*i);
      if (next.size() > 0 && ++pieces == 1) only = next;
    }
    if (pieces == 0) return 0;
    if (pieces == 1 || only.size() >= gathered)
      return put({static_cast<const std::byte*>(only.data()), only.size()}, error);
    std::array<std::byte, gathered> together;
    const auto n = boost::asio::buffer_copy(boost::asio::buffer(together.data(), together.size()), buffers);
    return put(std::span(together).first(n), error);
  }

  // Beast ends a WebSocket with it: our side is shut down, and what the peer still sends is dropped until it has
  // closed.
  friend void teardown(boost::beast::role_type, asio_stream& s, boost::system::error_code& error) { s.drain(error); }

 private:
  static constexpr std::size_t gathered = 4096;  // Bytes, on the stack.

  // Beast keeps timers, which its synchronous calls never start.
  static boost::asio::io_context& idle_context() {
    static boost::asio::io_context context;
    return context;
  }

  std::size_t read_into(std::span<std::byte> out, boost::system::error_code& error) {
    std::error_code e;
    const auto n = stream_.read_some(out, e);
    error = e || n > 0 ? to_boost(e) : boost::system::error_code(boost::asio::error::eof);
    return n;
  }
  std::size_t put(std::span<const std::byte> data, boost::system::error_code& error) {
    std::error_code e;
    const auto n = stream_.write_some(data, e);
    error = to_boost(e);
    return n;
  }
  void drain(boost::system::error_code& error) {
    std::error_code e;
    stream_.shutdown_write(e);
    error = to_boost(e);
    for (std::array<std::byte, 512> dropped; !error;) read_into(dropped, error);
    if (error == boost::asio::error::eof) error = {};
  }
  template <class Call>
  static std::size_t checked(Call call) {
    boost::system::error_code error;
    const auto n = call(error);
    if (error == boost::asio::error::operation_aborted) throw cancelled{};
    if (error) throw boost::system::system_error(error);
    return n;
  }

  Stream& stream_;
};

}  // namespace thrum::net
