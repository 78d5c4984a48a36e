// file_reads: 16 fibers read blocks of 4 KiB at random from a file in the page cache.
#include "peers/file_reads.hpp"

#include "thrum_bench.hpp"

static void read_blocks(thrum::file& f, long reads, std::uint64_t seed) {
  file_reads::sequence numbers(seed);
  auto b = std::make_unique<file_reads::block>();
  for (long i = 0; i < reads; ++i) {
    const auto number = numbers.next();
    const auto n = f.read_at(number * file_reads::block_bytes, *b);
    file_reads::check(*b, number, long(n));
  }
}

static void measure(const bench::options& o) {
  auto f = thrum::file::adopt(file_reads::make_file());
  bench::measure("", o.scaled(1600000), [&](long n) {
    auto all =
        bench::start(file_reads::depth, [&](long i) { read_blocks(f, n / file_reads::depth, std::uint64_t(i)); });
    bench::join(all);
  });
}

int main(int argc, char** argv) { return bench::in_runtime(argc, argv, measure); }
