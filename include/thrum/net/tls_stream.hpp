// A TLS connection over a TCP connection.
//
//   auto c = tls_stream::connect(context, tcp_stream::connect(address), "www.example.org");
//   c.write_all(request);
//   const std::size_t n = c.read_some(buffer);       // 0: the peer has ended its side, and said so
//
// In the library thrum_tls (CMake: thrum::tls), which needs OpenSSL 3. Calls suspend the fiber, or block the thread,
// and are cancellation points as those of tcp_stream, whose time limits apply: see transport(). One fiber or task may
// read while another writes. Errors are those of the transport, tls_category() or certificate_category(); an end of the
// transport without the peer's farewell is errc::connection_aborted, since somebody may have cut the connection. After
// a failed or cancelled write the stream cannot be written any more: errc::broken_pipe.
//
// OpenSSL works on memory only, so no call into it ever waits, and its state that belongs to a thread is never held
// across a suspension.
#pragma once

#include <chrono>
#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <system_error>

#include <thrum/net/stream_calls.hpp>
#include <thrum/net/tcp_stream.hpp>
#include <thrum/net/tls_context.hpp>

struct ssl_st;          // OpenSSL's SSL.
struct ssl_session_st;  // And SSL_SESSION.

namespace thrum::net {

// What a client keeps of a connection to greet the same server faster the next time. Cheap to copy.
class tls_session {
 public:
  tls_session() noexcept = default;
  explicit operator bool() const noexcept { return state_ != nullptr; }

 private:
  friend class tls_stream;
  std::shared_ptr<ssl_session_st> state_;
};

struct tls_connect_options {
  std::chrono::nanoseconds timeout = std::chrono::seconds(10);  // For the whole handshake; zero or less: no limit.
  tls_session session{};                                        // From an earlier connection, if there is one.
};

class tls_stream : public input_calls<tls_stream>, public output_calls<tls_stream> {
 public:
  tls_stream() noexcept;
  tls_stream(tls_stream&&) noexcept;  // While no operation is under way.
  tls_stream& operator=(tls_stream&&) noexcept;
  ~tls_stream();  // Closes the transport; says no farewell: shutdown_write() does.

  // The handshake, as the client that asks for `host`, a name or a numeric address, for which the certificate must be
  // valid. Takes the place of a deadline that the transport has.
  static tls_stream connect(const tls_context& context, tcp_stream transport, std::string_view host,
                            const tls_connect_options& options = {});
  static tls_stream connect(const tls_context& context, tcp_stream transport, std::string_view host,
                            const tls_connect_options& options, std::error_code& error);
  // The same as the server. The limit is for the whole handshake; zero or less: none.
  static tls_stream accept(const tls_context& context, tcp_stream transport,
                           std::chrono::nanoseconds timeout = std::chrono::seconds(10));
  static tls_stream accept(const tls_context& context, tcp_stream transport, std::chrono::nanoseconds timeout,
                           std::error_code& error);

  // And read_exactly() and write_all(): see stream_calls.hpp. The end is where the peer has ended its side.
  using input_calls<tls_stream>::read_some;
  std::size_t read_some(std::span<std::byte> buffer, std::error_code& error);
  // At most 16 KiB, one record; returns when the transport has taken it.
  using output_calls<tls_stream>::write_some;
  std::size_t write_some(std::span<const std::byte> data, std::error_code& error);

  // Says farewell: the peer reads the end of the stream. Reads go on. May suspend.
  void shutdown_write();
  void shutdown_write(std::error_code& error);

  // For tasks, with <thrum/task.hpp>: co_await them. What they refer to must outlive the call.
  static task<tls_stream> async_connect(tls_context context, tcp_stream transport, std::string host,
                                        tls_connect_options options = {});
  static task<tls_stream> async_connect(tls_context context, tcp_stream transport, std::string host,
                                        tls_connect_options options, std::error_code& error);
  static task<tls_stream> async_accept(tls_context context, tcp_stream transport,
                                       std::chrono::nanoseconds timeout = std::chrono::seconds(10));
  static task<tls_stream> async_accept(tls_context context, tcp_stream transport, std::chrono::nanoseconds timeout,
                                       std::error_code& error);
  using input_calls<tls_stream>::async_read_some;
  using output_calls<tls_stream>::async_write_some;
  task<std::size_t> async_read_some(std::span<std::byte> buffer, std::error_code& error);
  task<std::size_t> async_write_some(std::span<const std::byte> data, std::error_code& error);
  task<void> async_shutdown_write();
  task<void> async_shutdown_write(std::error_code& error);

  bool is_open() const noexcept;
  void close() noexcept;    // Without farewell. Who waits gets errc::bad_file_descriptor.
  tcp_stream& transport();  // For its deadline, time-out and addresses; reading or writing it would break TLS.

  std::string protocol() const;     // Agreed on by ALPN; empty: none.
  std::string version() const;      // "TLSv1.3"
  std::string server_name() const;  // What the client asked for by SNI; empty: nothing.
  std::string peer_name() const;    // The common name in the peer's certificate; empty: it has none.
  bool resumed() const;             // By a session of an earlier connection.
  // With TLS 1.3 it comes after the handshake: read something first. Empty as long as there is none.
  tls_session session() const;
  ssl_st* native_handle() const noexcept;  // Owned by the stream; no I/O.

 private:
  friend output_calls<tls_stream>;
  struct state;
  explicit tls_stream(std::unique_ptr<state> s) noexcept;
  void break_off() noexcept;

  std::unique_ptr<state> state_;
};

}  // namespace thrum::net
