// Numeric addresses: what is understood, and what is not.
#include "net/address.hpp"

#include <gtest/gtest.h>

namespace thrum::net {
namespace {

std::string round_trip(std::string_view text) {
  std::error_code error;
  const auto a = parse_address(text, error);
  return error ? "error: " + error.message() : to_string(a);
}

TEST(address, understands_both_families_and_every_interface) {
  EXPECT_EQ(round_trip("127.0.0.1:80"), "127.0.0.1:80");
  EXPECT_EQ(round_trip("255.255.255.255:65535"), "255.255.255.255:65535");
  EXPECT_EQ(round_trip(":0"), "0.0.0.0:0");
  EXPECT_EQ(round_trip("[::1]:7777"), "[::1]:7777");
  EXPECT_EQ(round_trip("[::]:1"), "[::]:1");
  EXPECT_EQ(round_trip("[2001:db8::42]:443"), "[2001:db8::42]:443");
  EXPECT_EQ(round_trip("[::ffff:1.2.3.4]:5"), "[::ffff:1.2.3.4]:5");
}

TEST(address, anything_else_is_an_invalid_argument) {
  for (const char* text : {"",
                           ":",
                           "127.0.0.1",
                           "127.0.0.1:",
                           "127.0.0.1:65536",
                           "127.0.0.1:-1",
                           "127.0.0.1:+1",
                           "127.0.0.1: 1",
                           "127.0.0.1:1 ",
                           "127.0.0.1:0x50",
                           "127.0.0:1",
                           "127.0.0.1.1:1",
                           "256.0.0.1:1",
                           "localhost:80",
                           "::1:80",
                           "[::1]",
                           "[::1]80",
                           "[]:80",
                           "[:80",
                           "[::1:80",
                           "[127.0.0.1]:80",
                           "[::g]:80",
                           "a b:1",
                           "127.0.0.1:99999999999999"}) {
    std::error_code error;
    (void)parse_address(text, error);
    EXPECT_EQ(error, std::errc::invalid_argument) << '"' << text << '"';
  }
  std::error_code error;
  (void)parse_address(std::string_view("127.0.0.1\0:80", 13), error);
  EXPECT_EQ(error, std::errc::invalid_argument);
}

TEST(address, what_is_no_socket_has_no_address) {
  EXPECT_EQ(local_address_of(-1), "");
  EXPECT_EQ(remote_address_of(0), "");
}

}  // namespace
}  // namespace thrum::net
