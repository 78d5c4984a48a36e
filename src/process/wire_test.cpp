// Values through bytes and back; bytes that are no values; and memory that is shared.
#include <thrum/wire.hpp>

#include <array>
#include <string>

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <thrum/shared_memory.hpp>

#include "base/rng.hpp"
#include "support.hpp"

namespace thrum {
namespace {

using namespace test;

struct account {
  std::string name;
  long balance = 0;
  friend bool operator==(const account&, const account&) = default;
};

enum class colour : unsigned char { red, green };

}  // namespace

template <>
struct wire_format<account> {
  static void write(wire_writer& to, const account& a) { to.write(a.name), to.write(a.balance); }
  static account read(wire_reader& from) {
    auto name = from.read<std::string>();
    return {std::move(name), from.read<long>()};
  }
};

namespace {

template <class T>
T through(const T& value) {
  wire_writer out;
  out.write(value);
  wire_reader in(out.bytes(), out.descriptors());
  T back = in.read<T>();
  in.end();
  return back;
}

TEST(wire, values_come_back_as_they_were) {
  EXPECT_EQ(through(7), 7);
  EXPECT_EQ(through(true), true);
  EXPECT_EQ(through(colour::green), colour::green);
  EXPECT_EQ(through(std::array{1.5, 2.5}), (std::array{1.5, 2.5}));
  EXPECT_EQ(through(std::string("a\0b", 3)), std::string("a\0b", 3));
  EXPECT_EQ(through(std::vector<int>()), std::vector<int>());
  EXPECT_EQ(through(std::vector<bool>{true, false}), (std::vector<bool>{true, false}));
  EXPECT_EQ(through(std::vector<account>{{"a", 1}, {"b", -2}}), (std::vector<account>{{"a", 1}, {"b", -2}}));
  EXPECT_EQ(through(std::optional<account>({"c", 3})), (std::optional<account>({"c", 3})));
  EXPECT_EQ(through(std::optional<int>()), std::nullopt);
  EXPECT_EQ(through(std::pair(std::string("x"), 'y')), std::pair(std::string("x"), 'y'));
  EXPECT_EQ(through(std::tuple<int, std::vector<std::string>>(1, {"z"})),
            (std::tuple<int, std::vector<std::string>>(1, {"z"})));
  EXPECT_EQ(through(std::tuple<>()), std::tuple<>());
}

TEST(wire, views_refer_to_the_bytes_and_are_aligned) {
  wire_writer out;
  const std::vector<double> numbers{1, 2, 3};
  out.write('x');
  out.write(std::span<const double>(numbers));
  out.write(std::string_view("text"));
  wire_reader in(out.bytes());
  EXPECT_EQ(in.read<char>(), 'x');
  const auto view = in.read<std::span<const double>>();
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(view.data()) % alignof(double), 0u);
  EXPECT_TRUE(std::equal(view.begin(), view.end(), numbers.begin(), numbers.end()));
  const auto text = in.read<std::string_view>();
  EXPECT_EQ(text, "text");
  EXPECT_GE(reinterpret_cast<const std::byte*>(text.data()), out.bytes().data());
  in.end();
}

using everything = std::tuple<bool, std::string, std::vector<int>, std::vector<std::string>, std::optional<account>,
                              std::pair<char, std::vector<double>>, shared_memory>;

// Whatever the bytes are: a value, or wire_error.
TEST(wire, garbage_is_refused_and_nothing_else_happens) {
  wire_writer out;  // What `everything` is made of.
  out.write(true), out.write(std::string("text")), out.write(std::vector{1, 2});
  out.write(std::vector<std::string>{"a", "b"}), out.write(std::optional<account>({"c", 4}));
  out.write(std::pair('d', std::vector{5.0, 6.0})), out.write(shared_memory());
  base::rng random(1);
  int refused = 0;
  for (int round = 0; round < 20'000; ++round) {
    auto bytes = out.bytes();
    for (auto changes = random.next() % 4; changes > 0; --changes)
      bytes[random.next() % bytes.size()] = static_cast<std::byte>(random.next());
    if (random.next() % 4 == 0) bytes.resize(random.next() % bytes.size());
    wire_reader in(bytes);
    try {
      (void)in.read<everything>();
      in.end();
    } catch (const wire_error&) {
      ++refused;
    }
  }
  EXPECT_GT(refused, 5'000);
  EXPECT_LT(refused, 20'000);
}

TEST(wire, impossible_lengths_are_refused_before_memory_is_taken) {
  for (const std::uint64_t length : {~std::uint64_t{0}, std::uint64_t{1} << 61, std::uint64_t{9}}) {
    wire_writer out;
    out.write(length);
    out.write(std::uint64_t{0});
    wire_reader a(out.bytes()), b(out.bytes()), c(out.bytes());
    EXPECT_THROW((void)a.read<std::string>(), wire_error);
    EXPECT_THROW((void)b.read<std::vector<double>>(), wire_error);
    EXPECT_THROW((void)c.read<std::vector<std::string>>(), wire_error);
  }
}

TEST(shared_memory, is_seen_by_all_who_have_it_and_keeps_its_size) {
  auto a = shared_memory::create(10'000);
  EXPECT_EQ(a.bytes()[9'999], std::byte{0});
  auto b = through(a);
  b.bytes()[9'999] = std::byte{4};
  EXPECT_EQ(a.bytes()[9'999], std::byte{4});
  EXPECT_NE(::ftruncate(a.native_handle(), 10), 0);
  EXPECT_NE(::ftruncate(a.native_handle(), 20'000), 0);
  EXPECT_EQ(through(shared_memory()).size(), 0u);
  EXPECT_EQ(shared_memory::create(0).bytes().size(), 0u);
}

TEST(shared_memory, cannot_be_changed_once_it_is_frozen) {
  auto a = shared_memory::create(100);
  a.bytes()[1] = std::byte{1};
  {
    auto b = through(a);
    std::error_code error;
    a.freeze(error);
    EXPECT_EQ(error, std::errc::device_or_resource_busy);
    EXPECT_FALSE(a.frozen());
    a.bytes()[2] = std::byte{2};
  }
  a.freeze();
  EXPECT_TRUE(a.frozen());
  EXPECT_THROW((void)a.bytes(), std::system_error);
  auto b = through(a);
  EXPECT_TRUE(b.frozen());
  EXPECT_EQ(std::as_const(b).bytes()[2], std::byte{2});
  EXPECT_EQ(::mmap(nullptr, 100, PROT_READ | PROT_WRITE, MAP_SHARED, b.native_handle(), 0), MAP_FAILED);
}

TEST(shared_memory, what_is_not_sealed_is_not_adopted) {
  const auto before = open_descriptors();
  std::error_code error;
  for (const int fd : {::open("/dev/zero", O_RDWR | O_CLOEXEC), ::memfd_create("mine", MFD_CLOEXEC), -1}) {
    EXPECT_EQ(shared_memory::adopt(net::descriptor(fd), error).size(), 0u);
    EXPECT_EQ(error, std::errc::invalid_argument);
  }
  EXPECT_THROW(shared_memory::adopt(net::descriptor()), std::system_error);
  expect_no_more_descriptors_than(before);
}

}  // namespace
}  // namespace thrum
