// libcurl's easy interface in fibers, against an nginx of our own.
#include <algorithm>
#include <atomic>
#include <cstring>
#include <fstream>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include <curl/curl.h>
#include <netdb.h>
#include <unistd.h>

#include "client_support.hpp"

namespace thrum {
namespace {

using namespace test;

const std::string page(300, 'p');  // Three seconds of what nginx calls slow.

struct nginx {
  static constexpr auto server = "nginx";
  static void prepare(private_servers& servers) {
    curl_global_init(CURL_GLOBAL_DEFAULT);  // Not thread-safe everywhere: before there are others.
    if (!servers.absent().empty()) return;
    std::ofstream(servers["NGINX_FILES"] + "/page") << page;
    std::ofstream(servers["NGINX_FILES"] + "/large") << std::string(3'000'000, 'l');
  }
};

class curl_test : public server_test<nginx> {
 protected:
  static std::string url(const std::string& path) { return "http://127.0.0.1:" + servers()["NGINX_PORT"] + path; }
};
INSTANTIATE_TEST_SUITE_P(workers, curl_test, worker_counts, count_name);

// One easy handle; what comes is collected, and told piece by piece to who minds.
class transfer {
 public:
  explicit transfer(const std::string& url) : curl_(curl_easy_init(), curl_easy_cleanup) {
    set(CURLOPT_URL, url.c_str());
    set(CURLOPT_NOSIGNAL, 1L);  // As in every program with threads: no SIGALRM.
    set(CURLOPT_NOPROXY, "*");
    set(CURLOPT_WRITEFUNCTION, &transfer::take);
    set(CURLOPT_WRITEDATA, this);
  }
  transfer(const transfer&) = delete;
  transfer& operator=(const transfer&) = delete;

  template <class T>
  void set(CURLoption option, T value) {
    EXPECT_EQ(curl_easy_setopt(curl_.get(), option, value), CURLE_OK);
  }
  CURLcode perform() { return curl_easy_perform(curl_.get()); }
  long status() const {
    long code = 0;
    curl_easy_getinfo(curl_.get(), CURLINFO_RESPONSE_CODE, &code);
    return code;
  }
  long connects() const {
    long n = 0;
    curl_easy_getinfo(curl_.get(), CURLINFO_NUM_CONNECTS, &n);
    return n;
  }

  std::string body;
  std::function<void()> on_piece = [] {};

 private:
  static std::size_t take(char* data, std::size_t size, std::size_t n, void* self) {
    auto& t = *static_cast<transfer*>(self);
    t.body.append(data, size * n);
    // libcurl has cached where this thread's errno is: no wait in here may end on another.
    const this_fiber::pin stay;
    t.on_piece();
    return size * n;
  }

  std::unique_ptr<CURL, void (*)(CURL*)> curl_;
};

// Each holds its first piece until all have theirs.
TEST_P(curl_test, a_thousand_transfers_are_under_way_at_once) {
  run([&] {
    constexpr int many = 1000;
    latch all_have_begun(many);
    std::atomic<int> whole{0};
    in_fibers(many, [&](int i) {
      transfer t(url("/page"));
      bool first = true;
      t.on_piece = [&] {
        if (!std::exchange(first, false)) return;
        all_have_begun.arrive_and_wait();
        if (i % 100 == 0) expect_few_threads();
      };
      const auto code = t.perform();
      EXPECT_EQ(code, CURLE_OK) << curl_easy_strerror(code);
      whole += t.status() == 200 && t.body == page;
    });
    EXPECT_EQ(whole, many);
  });
}

TEST_P(curl_test, a_handle_keeps_its_connection) {
  run([&] {
    in_fibers(20, [&](int) {
      transfer t(url("/large"));
      long connects = 0;
      for (int n = 0; n < 5; ++n) {
        t.body.clear();
        ASSERT_EQ(t.perform(), CURLE_OK);
        ASSERT_EQ(t.body.size(), 3'000'000u);
        connects += t.connects();
      }
      EXPECT_EQ(connects, 1);
      t.set(CURLOPT_URL, url("/none").c_str());
      EXPECT_EQ(t.perform(), CURLE_OK);
      EXPECT_EQ(t.status(), 404);
    });
  });
}

TEST_P(curl_test, time_limits_hold) {
  run([&] {
    const silent_listener nobody;
    in_fibers(60, [&](int i) {
      transfer t(i % 2 == 0 ? url("/slow/page") : "http://127.0.0.1:" + std::to_string(nobody.port()) + "/");
      t.set(i % 2 == 0 ? CURLOPT_TIMEOUT_MS : CURLOPT_CONNECTTIMEOUT_MS, 100L);
      EXPECT_EQ(t.perform(), CURLE_OPERATION_TIMEDOUT);
      EXPECT_LT(t.body.size(), page.size());
    });
  });
}

// libcurl asks for a name in a thread of its own, and waits for that in poll().
TEST_P(curl_test, names_are_resolved) {
  std::array<char, 256> name{};
  ASSERT_EQ(::gethostname(name.data(), name.size() - 1), 0);
  addrinfo* found = nullptr;
  if (::getaddrinfo(name.data(), nullptr, nullptr, &found) != 0) GTEST_SKIP() << "this machine does not know its name";
  ::freeaddrinfo(found);
  run([&] {
    in_fibers(20, [&](int) {
      transfer t("http://" + std::string(name.data()) + ":" + servers()["NGINX_PORT"] + "/page");
      const auto code = t.perform();  // nginx need not listen at that address.
      EXPECT_TRUE(code == CURLE_OK || code == CURLE_COULDNT_CONNECT) << curl_easy_strerror(code);
    });
  });
}

TEST_P(curl_test, a_server_that_is_killed_ends_all_transfers_and_can_be_asked_again) {
  run([&] {
    constexpr int many = 100;
    std::atomic<int> begun{0}, cut{0}, back{0};
    event up;
    scope all;
    for (int i = 0; i < many; ++i)
      all.go([&] {
        transfer t(url("/slow/page"));
        bool first = true;
        t.on_piece = [&] { begun += std::exchange(first, false); };
        const auto code = t.perform();
        cut += code == CURLE_PARTIAL_FILE || code == CURLE_RECV_ERROR;
        up.wait();
        t.set(CURLOPT_URL, url("/page").c_str());
        t.body.clear();
        back += t.perform() == CURLE_OK && t.body == page;
      });
    EXPECT_TRUE(eventually([&] { return begun == many; }));
    expect_few_threads();
    servers().kill("nginx");
    EXPECT_TRUE(eventually([&] { return cut == many; })) << cut;
    EXPECT_EQ(transfer(url("/page")).perform(), CURLE_COULDNT_CONNECT);
    servers().start("nginx");
    up.set();
    all.join();
    EXPECT_EQ(back, many);
  });
}

TEST_P(curl_test, a_scope_that_is_cancelled_ends_a_transfer) {
  run([&] {
    std::atomic<bool> begun{false};
    scope s;
    s.go([&] {
      transfer t(url("/slow/page"));
      t.on_piece = [&] { begun = true; };
      EXPECT_NE(t.perform(), CURLE_OK);
      EXPECT_LT(t.body.size(), page.size());
    });
    EXPECT_TRUE(eventually([&] { return begun.load(); }));
    s.cancel();
    s.join();
  });
}

}  // namespace
}  // namespace thrum
