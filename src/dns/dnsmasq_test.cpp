// Names as a name server that others have written gives them: dnsmasq, started on a port of loopback for this test.
#include <thrum/net/resolver.hpp>

#include <algorithm>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <unistd.h>

#include "support.hpp"
#include "tcp_support.hpp"

namespace thrum::net {
namespace {

using namespace test;

std::string path_of_dnsmasq() {
  for (const char* path : {"/usr/sbin/dnsmasq", "/usr/bin/dnsmasq"})
    if (::access(path, X_OK) == 0) return path;
  return {};
}

std::uint16_t free_port() { return udp_socket::bind("127.0.0.1:0").local_port(); }

// Its configuration, and nothing else, is from here.
process start_dnsmasq(const std::string& path, std::uint16_t port) {
  return process::spawn({path, "--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--no-hosts",
                         "--pid-file=", "--user=root", "--listen-address=127.0.0.1", "--bind-interfaces",
                         "--port=" + std::to_string(port), "--local=/test/", "--address=/www.test/127.0.0.1",
                         "--host-record=six.test,192.0.2.6,2001:db8::6", "--srv-host=_x._tcp.test,a.test,5060,10,1",
                         "--srv-host=_x._tcp.test,b.test,5061,5,1", "--mx-host=test,mail.test,7",
                         "--txt-record=test,several,words"});
}

std::vector<std::string> sorted(const std::vector<endpoint>& all) {
  std::vector<std::string> t;
  for (const auto& e : all) t.push_back(e.to_string());
  std::sort(t.begin(), t.end());
  return t;
}

void ask_everything(const resolver& names) {
  EXPECT_EQ(names.resolve("www.test", 80, {.family = address_family::v4}),
            std::vector<endpoint>{endpoint("127.0.0.1:80")});
  EXPECT_EQ(sorted(names.resolve("six.test", 80)), (std::vector<std::string>{"192.0.2.6:80", "[2001:db8::6]:80"}));
  const auto services = names.query_srv("_x._tcp.test");
  ASSERT_EQ(services.size(), 2u);
  EXPECT_EQ(services[0].target + " " + services[1].target, "b.test a.test");
  EXPECT_EQ(services[0].port, 5061);
  const auto mail = names.query_mx("test");
  ASSERT_EQ(mail.size(), 1u);
  EXPECT_EQ(mail[0].host, "mail.test");
  EXPECT_EQ(names.query_txt("test"), std::vector<std::string>{"severalwords"});
  EXPECT_EQ(names.query_ptr(endpoint("192.0.2.6:1")), std::vector<std::string>{"six.test"});
  EXPECT_EQ(code_of([&] { names.resolve("nowhere.test", 80); }), dns_errc::no_such_host);
  const auto l = tcp_listener::bind("127.0.0.1:0");
  EXPECT_EQ(connect(names, "www.test", l.local_port()).remote_address(), here(l));
}

resolver asking(std::uint16_t port) {
  return resolver({.servers = {endpoint("127.0.0.1:" + std::to_string(port))},
                   .search_domains = std::vector<std::string>(),
                   .configuration_file = "",
                   .hosts_file = ""});
}

// False: it has ended, since somebody else has got the port, which is to be free for TCP as well.
bool serves(process& dnsmasq, const resolver& names) {
  bool answers = false;
  std::error_code error;
  EXPECT_TRUE(eventually([&] {
    answers = !names.resolve("www.test", 80, {}, error).empty();
    return answers || dnsmasq.wait_for(1ms).has_value();
  })) << error.message();
  return answers;
}

TEST(dnsmasq, its_answers_are_understood) {
  const auto path = path_of_dnsmasq();
  if (path.empty()) GTEST_SKIP() << "dnsmasq is not installed: tools/prepare dns installs it";
  with_runtime({.workers = 2}, [&](runtime&) {
    for (int attempts = 0; attempts < 20; ++attempts) {
      const auto port = free_port();
      auto child = start_dnsmasq(path, port);
      const auto names = asking(port);
      if (!serves(child, names)) continue;
      ask_everything(names);
      child.terminate(5s);
      return;
    }
    ADD_FAILURE() << "dnsmasq does not start";
  });
}

}  // namespace
}  // namespace thrum::net
