// A buffered_reader beside a model of it: the text that is left. The first bytes of the input say what is read, how the
// stream cuts the text into pieces, and where it fails; the text follows.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include <thrum/net/buffered_reader.hpp>

namespace {

using thrum::net::buffered_reader, thrum::net::line_end;

void require(bool holds) {
  if (!holds) std::abort();
}

// Bytes of the input that decide; zeros when there are no more.
struct decisions {
  std::span<const std::uint8_t> left;
  unsigned next() {
    if (left.empty()) return 0;
    const unsigned first = left.front();
    left = left.subspan(1);
    return first;
  }
};

constexpr auto failure = std::errc::interrupted;  // The stream's; the reader has no such of its own.

// Gives the text in pieces, and now and then an error instead.
struct pieces {
  std::string_view text;
  decisions cuts;
  std::size_t read_some(std::span<std::byte> out, std::error_code& error) {
    error.clear();
    const auto cut = cuts.next();
    if (cut == 0xff) {
      error = std::make_error_code(failure);
      return 0;
    }
    const auto n = std::min({out.size(), text.size(), std::size_t{1 + cut % 64}});
    std::ranges::copy(std::as_bytes(std::span(text)).first(n), out.begin());
    text.remove_prefix(n);
    return n;
  }
};

std::string_view text_of(std::span<const std::byte> b) { return {reinterpret_cast<const char*>(b.data()), b.size()}; }

class reader_and_model {
 public:
  reader_and_model(pieces& stream, const thrum::net::read_options& options)
      : left_(stream.text), lines_(options.lines), reader_(stream, options) {}

  void step(unsigned what, unsigned size) {
    std::error_code error;
    switch (what % 7) {
      case 0:
        return record(reader_.read_line(error), lines_ == line_end::crlf ? "\r\n" : "\n", true, error);
      case 1: {
        static constexpr std::string_view delimiters[] = {"\n", "\r\n", "ab", "aab", "\n\n", "abab"};
        const auto d = delimiters[size % std::size(delimiters)];
        return record(reader_.read_until(d, error), d, false, error);
      }
      case 2:
        return read_exactly(size);
      case 3:
        return read_some(size);
      case 4:
        return peek(size);
      case 5:
        return skip(size);
      default:
        reader_.set_limit(size);
    }
  }
  // What is buffered is what comes next.
  void check() const { require(left_.starts_with(text_of(reader_.buffered()))); }

 private:
  // What a record is, or why there is none.
  void record(std::optional<std::string_view> got, std::string_view delimiter, bool is_line, std::error_code error) {
    if (error == failure) return require(!got);
    const auto at = left_.find(delimiter);
    const auto size = at == left_.npos ? left_.size() : at + delimiter.size();
    if (at == left_.npos ? size >= reader_.limit() : size > reader_.limit())
      return require(!got && error == std::errc::message_size);
    if (at == left_.npos && (!is_line || left_.empty()))
      return require(!got && error == (left_.empty() ? std::errc{} : std::errc::connection_aborted));
    auto expected = left_.substr(0, is_line ? std::min(at, left_.size()) : size);
    if (is_line && at != left_.npos && lines_ == line_end::any && expected.ends_with('\r')) expected.remove_suffix(1);
    require(!error && got == expected);
    left_.remove_prefix(size);
  }

  void read_exactly(std::size_t size) {
    std::error_code error;
    std::vector<std::byte> out(size);
    reader_.read_exactly(out, error);
    if (error == failure) return;
    if (size > left_.size()) return require(error == std::errc::connection_aborted);
    require(!error);
    take(text_of(out));
  }

  void read_some(std::size_t size) {
    std::error_code error;
    std::vector<std::byte> out(size);
    const auto n = reader_.read_some(out, error);
    if (error == failure) return require(n == 0);
    require(!error && n <= size && (n > 0 || size == 0 || left_.empty()));
    take(text_of(std::span(out).first(n)));
  }

  void peek(std::size_t size) {
    std::error_code error;
    const bool too_far = size > reader_.limit() && size > reader_.buffered().size();
    const auto seen = text_of(reader_.peek(size, error));
    if (error == failure) return require(seen.empty());
    if (too_far) return require(seen.empty() && error == std::errc::message_size);
    require(!error && seen == left_.substr(0, size));
  }

  void skip(std::size_t size) {
    std::error_code error;
    const auto n = reader_.skip(size, error);
    require(error == failure ? n <= size : !error && n == std::min(size, left_.size()));
    left_.remove_prefix(n);
  }

  void take(std::string_view got) {
    require(left_.starts_with(got));
    left_.remove_prefix(got.size());
  }

  std::string_view left_;
  line_end lines_;
  buffered_reader<pieces> reader_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  decisions input{{data, size}};
  const thrum::net::read_options options{
      .buffer_size = input.next() % 32, .limit = input.next(), .lines = static_cast<line_end>(input.next() % 3)};
  const auto steps = std::min<std::size_t>(input.next(), input.left.size());
  decisions calls{input.left.first(steps)};
  input.left = input.left.subspan(steps);
  const auto cuts = std::min<std::size_t>(input.next(), input.left.size());
  pieces stream{text_of(std::as_bytes(input.left.subspan(cuts))), {input.left.first(cuts)}};
  reader_and_model both(stream, options);
  while (!calls.left.empty()) {
    const auto what = calls.next();
    both.step(what, calls.next());
    both.check();
  }
  return 0;
}
