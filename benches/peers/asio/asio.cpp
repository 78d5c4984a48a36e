// Boost.Asio with callbacks, as its documentation writes a server: one io_context run by one thread, a session for each
// connection that keeps itself alive, handlers that start the next operation.
//
//   asio echo|c10k --workers 1 [--port N] [--delay-ms N] [--buffer BYTES]
#include <memory>
#include <utility>  // Boost 1.74 forgets it.

#include <boost/asio.hpp>

#include "../../server.hpp"

namespace {

namespace asio = boost::asio;
using asio::ip::tcp;

class session : public std::enable_shared_from_this<session> {
 public:
  session(tcp::socket socket, const bench::options& o, bool delays)
      : socket_(std::move(socket)),
        timer_(socket_.get_executor()),
        delay_(o.delay_ms),
        delays_(delays),
        buffer_(o.buffer) {}

  void read() {
    auto room = asio::buffer(buffer_.data() + held_, buffer_.size() - held_);
    socket_.async_read_some(room, [self = shared_from_this()](auto error, std::size_t n) {
      if (!error) self->on_read(n);
    });
  }

 private:
  // Echoes what comes; with a delay, each whole request waits for its "database" first.
  void on_read(std::size_t n) {
    held_ += n;
    if (!delays_) return write();
    if (held_ < bench::message_bytes) return read();
    timer_.expires_after(delay_);
    timer_.async_wait([self = shared_from_this()](auto error) {
      if (!error) self->write();
    });
  }

  void write() {
    asio::async_write(socket_, asio::buffer(buffer_.data(), held_),
                      [self = shared_from_this()](auto error, std::size_t) {
                        self->held_ = 0;
                        if (!error) self->read();
                      });
  }

  tcp::socket socket_;
  asio::steady_timer timer_;
  std::chrono::milliseconds delay_;
  bool delays_;
  std::size_t held_ = 0;
  std::vector<char> buffer_;
};

void accept(tcp::acceptor& acceptor, const bench::options& o, bool delays) {
  acceptor.async_accept([&, delays](auto error, tcp::socket socket) {
    if (error) bench::fail("accept failed: " + error.message() + ".", 1);
    std::make_shared<session>(std::move(socket), o, delays)->read();
    accept(acceptor, o, delays);
  });
}

}  // namespace

int main(int argc, char** argv) {
  const auto o = bench::parse(argc, argv);
  if (o.bench != "echo" && o.bench != "c10k")
    bench::fail("The asio peer does not offer '" + o.bench + "'.", bench::exit_not_offered);
  bench::prepare_server();
  asio::io_context context(1);  // One thread: Asio leaves out what only several would need.
  const int listener = bench::listen_on_loopback(o.port);
  bench::no_delay(listener);  // Which its connections inherit.
  tcp::acceptor acceptor(context, tcp::v4(), listener);
  accept(acceptor, o, o.bench == "c10k");
  context.run();
}
