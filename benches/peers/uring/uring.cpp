// The other yardstick: io_uring by hand, with what it has for servers: accept and receive that are asked for once and
// complete many times, buffers that the kernel picks when data have come, descriptors that only the ring knows, and
// one io_uring_enter for a whole batch of completions and new requests. One thread, no locks.
//
//   uring echo|churn|file_reads --workers 1 [--port N] [--buffer BYTES] [--quick]
#include <liburing.h>
#include <signal.h>
#include <sys/mman.h>

#include <utility>

#include "../../server.hpp"
#include "../file_reads.hpp"

namespace {

volatile sig_atomic_t terminated;

io_uring make_ring(unsigned entries, unsigned completions) {
  io_uring ring;
  io_uring_params p{};
  p.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_CQSIZE;
  p.cq_entries = completions;
  // Kernels before 6.1 have neither of the modes; containers may have no io_uring.
  if (int e = io_uring_queue_init_params(entries, &ring, &p); e < 0)
    bench::fail("io_uring: " + std::generic_category().message(-e) + ".", bench::exit_not_offered);
  return ring;
}

// Buffers that are being sent are connection's, those in the ring are the kernel's.
class echo_server {
 public:
  explicit echo_server(const bench::options& o)
      : ring_(make_ring(4096, 32768)),
        listener_(bench::listen_on_loopback(o.port)),
        size_(o.buffer),
        memory_(static_cast<char*>(pages(count * size_))),
        buffers_(static_cast<io_uring_buf_ring*>(pages(count * sizeof(io_uring_buf)))) {
    bench::no_delay(listener_);  // Which its connections inherit.
    io_uring_buf_reg mine{};
    mine.ring_addr = reinterpret_cast<uint64_t>(buffers_);
    mine.ring_entries = count;
    mine.bgid = group;
    if (io_uring_register_buf_ring(&ring_, &mine, 0) != 0 || io_uring_register_files_sparse(&ring_, count) != 0)
      bench::fail("io_uring lacks buffer rings or registered files.", bench::exit_not_offered);
    io_uring_buf_ring_init(buffers_);
    for (unsigned i = 0; i < count; ++i) give_back(i);
    io_uring_buf_ring_advance(buffers_, std::exchange(freed_, 0));
  }

  void run() {
    accept();
    while (!terminated) {
      if (int e = io_uring_submit_and_wait(&ring_, 1); e < 0 && e != -EINTR) bench::fail("io_uring_enter failed.", 1);
      unsigned head, seen = 0;
      io_uring_cqe* c;
      io_uring_for_each_cqe(&ring_, head, c) {
        on_completion(*c);
        ++seen;
      }
      io_uring_cq_advance(&ring_, seen);
      io_uring_buf_ring_advance(buffers_, std::exchange(freed_, 0));
      starve_no_more();
    }
  }

 private:
  enum what : unsigned { accepted, received, sent, closed };
  static constexpr unsigned count = 16384;  // Buffers, and connections: a power of two above 10,000.
  static constexpr int group = 0;

  // What has been received and is to be sent, in the order of arrival: one send at a time for each connection.
  struct piece {
    int next = -1;
    unsigned offset = 0, size = 0;
  };
  struct connection {
    int first = -1, last = -1;  // pieces, by number of the buffer
    bool receiving = false, sending = false, over = false;
  };

  io_uring_sqe* request() {
    io_uring_sqe* r = io_uring_get_sqe(&ring_);
    if (!r) {
      io_uring_submit(&ring_);
      r = io_uring_get_sqe(&ring_);
    }
    return r;
  }
  static void label(io_uring_sqe* r, what w, unsigned slot) { io_uring_sqe_set_data64(r, uint64_t(w) << 62 | slot); }

  void accept() {
    auto* r = request();
    io_uring_prep_multishot_accept_direct(r, listener_, nullptr, nullptr, 0);
    label(r, accepted, 0);
  }

  void receive(unsigned slot) {
    auto* r = request();
    io_uring_prep_recv_multishot(r, int(slot), nullptr, 0, 0);
    r->flags |= IOSQE_FIXED_FILE | IOSQE_BUFFER_SELECT;
    r->buf_group = group;
    label(r, received, slot);
    at(slot).receiving = true;
  }

  void send(unsigned slot) {
    auto& c = at(slot);
    auto& p = pieces_[unsigned(c.first)];
    auto* r = request();
    io_uring_prep_send(r, int(slot), bytes(unsigned(c.first)) + p.offset, p.size, MSG_NOSIGNAL);
    r->flags |= IOSQE_FIXED_FILE;
    label(r, sent, slot);
    c.sending = true;
  }

  void on_completion(const io_uring_cqe& c) {
    const auto data = io_uring_cqe_get_data64(&c);
    const auto slot = unsigned(data);
    switch (what(data >> 62)) {
      case accepted:
        return on_accept(c);
      case received:
        return on_receive(slot, c);
      case sent:
        return on_send(slot, c.res);
      case closed:
        return;
    }
  }

  void on_accept(const io_uring_cqe& c) {
    if (!(c.flags & IORING_CQE_F_MORE)) accept();
    if (c.res < 0) return;
    const auto slot = unsigned(c.res);
    if (connections_.size() <= slot) connections_.resize(slot + 1);
    at(slot) = {};
    receive(slot);
  }

  void on_receive(unsigned slot, const io_uring_cqe& cqe) {
    auto& c = at(slot);
    if (!(cqe.flags & IORING_CQE_F_MORE)) c.receiving = false;
    if (cqe.res > 0) {
      append(c, cqe.flags >> IORING_CQE_BUFFER_SHIFT, unsigned(cqe.res));
      if (!c.sending) send(slot);
      if (!c.receiving) receive(slot);
    } else if (cqe.res == -ENOBUFS) {
      starved_.push_back(slot);  // Until a send has given buffers back.
    } else {
      c.over = true;
      end_if_done(slot);
    }
  }

  void append(connection& c, unsigned buffer, unsigned size) {
    pieces_[buffer] = {.next = -1, .offset = 0, .size = size};
    (c.last < 0 ? c.first : pieces_[unsigned(c.last)].next) = int(buffer);
    c.last = int(buffer);
  }

  void on_send(unsigned slot, int result) {
    auto& c = at(slot);
    auto& p = pieces_[unsigned(c.first)];
    c.sending = false;
    if (result < 0) {
      c.over = true;
      while (c.first >= 0) drop_first(c);
    } else if (unsigned(result) < p.size) {
      p.offset += unsigned(result);
      p.size -= unsigned(result);
    } else {
      drop_first(c);
    }
    if (c.first >= 0) return send(slot);
    end_if_done(slot);
  }

  void drop_first(connection& c) {
    const auto buffer = unsigned(c.first);
    c.first = pieces_[buffer].next;
    if (c.first < 0) c.last = -1;
    give_back(buffer);
  }

  // A failed send ends the connection only when the receive, too, has said its last.
  void end_if_done(unsigned slot) {
    auto& c = at(slot);
    if (!c.over || c.sending || c.receiving) return;
    auto* r = request();
    io_uring_prep_close_direct(r, slot);
    label(r, closed, slot);
  }

  void starve_no_more() {
    auto starved = std::exchange(starved_, {});
    for (auto slot : starved) receive(slot);
  }

  // The kernel gets them all at once, after the batch.
  void give_back(unsigned buffer) {
    io_uring_buf_ring_add(buffers_, bytes(buffer), unsigned(size_), static_cast<unsigned short>(buffer),
                          io_uring_buf_ring_mask(count), freed_++);
  }

  static void* pages(std::size_t size) {
    void* p = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) bench::fail("There is no memory for buffers.", 1);
    return p;
  }
  char* bytes(unsigned buffer) { return memory_ + buffer * size_; }
  connection& at(unsigned slot) { return connections_[slot]; }

  io_uring ring_;
  int listener_;
  std::size_t size_;
  char* memory_;
  io_uring_buf_ring* buffers_;
  int freed_ = 0;
  std::vector<piece> pieces_ = std::vector<piece>(count);
  std::vector<connection> connections_;
  std::vector<unsigned> starved_;
};

void echo(const bench::options& o) {
  bench::raise_file_limit();
  struct sigaction action = {};
  action.sa_handler = [](int) { terminated = 1; };
  sigaction(SIGTERM, &action, nullptr);
  echo_server(o).run();
  bench::report("", "cpu_total_s", bench::cpu_seconds(), "s");
}

// 16 reads under way; a batch of completions is answered by a batch of new reads, in one call.
void read_files(io_uring& ring, int fd, long reads) {
  std::vector<file_reads::sequence> numbers;
  std::vector<file_reads::block> blocks(file_reads::depth);
  std::uint64_t wanted[file_reads::depth];
  long begun = 0, done = 0;
  auto read = [&](unsigned i) {
    wanted[i] = numbers[i].next();
    auto* r = io_uring_get_sqe(&ring);
    io_uring_prep_read(r, fd, blocks[i].data(), file_reads::block_bytes, wanted[i] * file_reads::block_bytes);
    io_uring_sqe_set_data64(r, i);
    ++begun;
  };
  for (unsigned i = 0; i < file_reads::depth; ++i) numbers.emplace_back(i);
  for (unsigned i = 0; i < file_reads::depth && begun < reads; ++i) read(i);
  while (done < reads) {
    io_uring_submit_and_wait(&ring, 1);
    unsigned head, seen = 0;
    io_uring_cqe* c;
    io_uring_for_each_cqe(&ring, head, c) {
      const auto i = unsigned(io_uring_cqe_get_data64(c));
      file_reads::check(blocks[i], wanted[i], c->res);
      ++seen;
      if (begun < reads) read(i);
    }
    io_uring_cq_advance(&ring, seen);
    done += seen;
  }
}

void files(const bench::options& o) {
  const int fd = file_reads::make_file();
  auto ring = make_ring(64, 128);
  bench::measure("", o.scaled(1600000), [&](long n) { read_files(ring, fd, n); });
}

}  // namespace

int main(int argc, char** argv) {
  const auto o = bench::parse(argc, argv);
  if (o.bench == "echo" || o.bench == "churn") return echo(o), 0;
  if (o.bench == "file_reads") return files(o), 0;
  bench::fail("The uring peer does not offer '" + o.bench + "'.", bench::exit_not_offered);
}
