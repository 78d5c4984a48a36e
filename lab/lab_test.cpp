// Tests of the command `thrum` from outside: it is run as a child, as a user would, and judged by its exit
// status, its one sentence on stderr, its files, and by what it leaves behind: nothing.

#include <arpa/inet.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <fstream>
#include <functional>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

namespace {

using namespace std::chrono_literals;
using json = nlohmann::json;
using clock_type = std::chrono::steady_clock;

struct outcome {
  int status = -1;  // Exit status, or 128 + signal.
  std::string out, err;
};

std::string temporary_file(const std::string& name) {
  return testing::TempDir() + "thrum_lab_" + std::to_string(getpid()) + "_" + name;
}

std::string content_of(const std::string& file) {
  std::ifstream in(file);
  std::stringstream text;
  text << in.rdbuf();
  return text.str();
}

// A program that runs; output goes to files, so that nothing can block on a full pipe.
class running {
 public:
  explicit running(
      std::vector<std::string> arguments, const std::function<void()>& prepare = [] {}) {
    out_ = temporary_file("out");
    err_ = temporary_file("err");
    arguments.insert(arguments.begin(), "thrum");
    std::vector<char*> argv;
    for (std::string& a : arguments) argv.push_back(a.data());
    argv.push_back(nullptr);
    // Opened here: the child may have become a user who cannot even see this program's file.
    int program = open(THRUM_PROGRAM, O_RDONLY);
    int out = open(out_.c_str(), O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0600);
    int err = open(err_.c_str(), O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0600);
    pid_ = fork();
    if (pid_ == 0) {
      dup2(out, STDOUT_FILENO);
      dup2(err, STDERR_FILENO);
      prepare();
      fexecve(program, argv.data(), environ);
      _exit(126);
    }
    for (int fd : {program, out, err}) close(fd);
  }

  void send_signal(int number) const { kill(pid_, number); }
  pid_t id() const { return pid_; }

  outcome wait(std::chrono::seconds patience = 120s) {
    auto end = clock_type::now() + patience;
    int status = 0;
    while (waitpid(pid_, &status, WNOHANG) == 0) {
      if (clock_type::now() > end) {
        ADD_FAILURE() << "still running after " << patience.count() << " s";
        kill(pid_, SIGKILL);
        waitpid(pid_, &status, 0);
        break;
      }
      std::this_thread::sleep_for(5ms);
    }
    outcome o{WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status), content_of(out_), content_of(err_)};
    unlink(out_.c_str());
    unlink(err_.c_str());
    return o;
  }

 private:
  pid_t pid_ = -1;
  std::string out_, err_;
};

outcome run(
    std::vector<std::string> arguments, const std::function<void()>& prepare = [] {}) {
  return running(std::move(arguments), prepare).wait();
}

std::string last_line(const std::string& text) {
  std::size_t end = text.find_last_not_of('\n');
  if (end == std::string::npos) return "";
  std::size_t start = text.find_last_of('\n', end);
  return text.substr(start == std::string::npos ? 0 : start + 1,
                     end - (start == std::string::npos ? -1 : static_cast<long>(start)));
}

// One sentence of ours at the end of stderr, which names what is wrong.
void expect_sentence(const outcome& o, int status, const std::string& naming) {
  EXPECT_EQ(o.status, status) << o.err;
  std::string line = last_line(o.err);
  EXPECT_TRUE(line.starts_with("thrum: ")) << o.err;
  EXPECT_TRUE(line.ends_with(".")) << o.err;
  EXPECT_NE(line.find(naming), std::string::npos) << o.err;
}

// Processes below `pid` in the tree, itself not counted.
int descendants(pid_t pid) {
  std::string id = std::to_string(pid);
  std::istringstream children(content_of("/proc/" + id + "/task/" + id + "/children"));
  int count = 0;
  for (pid_t child = 0; children >> child;) count += 1 + descendants(child);
  return count;
}

// This program adopts whatever a dead laboratory leaves (see class lab), so all of it is found here.
void expect_nothing_left() {
  for (int i = 0; i < 400 && descendants(getpid()) > 0; ++i) {
    while (waitpid(-1, nullptr, WNOHANG) > 0) {
    }
    std::this_thread::sleep_for(5ms);
  }
  EXPECT_EQ(descendants(getpid()), 0);
}

void limit(int resource, rlim_t value) {
  rlimit r{value, value};
  setrlimit(static_cast<__rlimit_resource>(resource), &r);
}

// RLIMIT_NPROC does not bind root: the child becomes somebody else, whose id nobody uses.
void become_nobody_with_tasks(rlim_t tasks) {
  if (geteuid() == 0 && (setgid(61'234) != 0 || setuid(61'234) != 0)) _exit(125);
  limit(RLIMIT_NPROC, tasks);
}

json results(const std::string& file) {
  json parsed = json::parse(content_of(file), nullptr, false);
  unlink(file.c_str());
  EXPECT_FALSE(parsed.is_discarded());
  return parsed;
}

class lab : public testing::Test {
 protected:
  void SetUp() override { prctl(PR_SET_CHILD_SUBREAPER, 1); }
  void TearDown() override { expect_nothing_left(); }
};

TEST_F(lab, tells_its_version_and_how_to_use_it) {
  outcome version = run({"--version"});
  EXPECT_EQ(version.status, 0);
  EXPECT_EQ(version.out, std::string("thrum ") + THRUM_VERSION + "\n");
  outcome help = run({"--help"});
  EXPECT_EQ(help.status, 0);
  EXPECT_NE(help.out.find("lab"), std::string::npos);
  outcome lab_help = run({"lab", "--help"});
  EXPECT_EQ(lab_help.status, 0);
  for (const char* word : {"million", "c10k", "costs", "hog", "crash", "tour", "thrum lab tour"})
    EXPECT_NE(lab_help.out.find(word), std::string::npos) << word;
}

TEST_F(lab, unknown_arguments_are_refused) {
  expect_sentence(run({}), 2, "subcommand");
  expect_sentence(run({"laboratory"}), 2, "laboratory");
  expect_sentence(run({"lab"}), 2, "subcommand");
  expect_sentence(run({"lab", "billion"}), 2, "billion");
  expect_sentence(run({"lab", "million", "--speed", "9"}), 2, "--speed");
  expect_sentence(run({"lab", "million", "--models", "fiber,goroutine"}), 2, "goroutine");
  expect_sentence(run({"lab", "tour", "extra"}), 2, "extra");
  expect_sentence(run({"lab", "million", "--count"}), 2, "--count");
}

TEST_F(lab, impossible_counts_are_refused) {
  for (const char* count : {"0", "-1", "1000000000000", "99999999999999999999", "many", "10x", "", "1e6", "2.5"}) {
    SCOPED_TRACE(count);
    expect_sentence(run({"lab", "million", "--count", count}), 2, "whole number");
    expect_sentence(run({"lab", "c10k", "--connections", count}), 2, "whole number");
  }
  expect_sentence(run({"lab", "million", "--sleep", "-1"}), 2, "not a time");
  expect_sentence(run({"lab", "million", "--sleep", "nan"}), 2, "not a time");
  expect_sentence(run({"lab", "hog", "--seconds", "0"}), 2, "not a time");
  expect_sentence(run({"lab", "hog", "--seconds", "inf"}), 2, "not a time");
  expect_sentence(run({"lab", "c10k", "--port", "70000"}), 2, "whole number");
  expect_sentence(run({"lab", "c10k", "--pool", "0"}), 2, "whole number");
  expect_sentence(run({"lab", "costs", "--scale", "0"}), 2, "whole number");
}

TEST_F(lab, files_that_cannot_be_written_are_refused_before_the_work) {
  expect_sentence(run({"lab", "million", "--json", "/nowhere/at/all.json"}), 1, "/nowhere/at/all.json");
  expect_sentence(run({"lab", "million", "--html", testing::TempDir()}), 1, "directory");
}

TEST_F(lab, a_full_standard_output_is_a_failure) {
  outcome o = run({"lab", "million", "-n", "10", "--models", "thread"},
                  [] { dup2(open("/dev/full", O_WRONLY), STDOUT_FILENO); });
  expect_sentence(o, 1, "standard output");
}

TEST_F(lab, million_runs_every_model_with_all_alive_at_once) {
  std::string file = temporary_file("million.json");
  std::string page = temporary_file("million.html");
  outcome o = run({"lab", "million", "-n", "200", "--json", file, "--html", page});
  EXPECT_EQ(o.status, 0) << o.err;
  json rows = results(file)["experiments"][0]["rows"];
  ASSERT_EQ(rows.size(), 4u);
  for (const json& row : rows) {
    EXPECT_EQ(row["activities"], 200) << row;
    EXPECT_EQ(row["alive_max"], 200) << row;
    EXPECT_GT(row["rss_bytes_each"], 0) << row;
    EXPECT_FALSE(row.contains("limit")) << row;
  }
  EXPECT_NE(content_of(page).find("<svg"), std::string::npos);
  EXPECT_NE(o.out.find("alive at once"), std::string::npos);
  unlink(page.c_str());
}

TEST_F(lab, million_says_when_the_sleep_given_was_too_short) {
  std::string file = temporary_file("short.json");
  outcome o = run({"lab", "million", "-n", "300", "--models", "process", "--sleep", "0.001", "--json", file});
  EXPECT_EQ(o.status, 0) << o.err;
  EXPECT_LT(results(file)["experiments"][0]["rows"][0]["alive_max"], 300);
  EXPECT_NE(o.out.find("give a longer --sleep"), std::string::npos) << o.out;
}

TEST_F(lab, a_model_that_cannot_reach_the_count_names_its_limit) {
  std::string file = temporary_file("limit.json");
  int fd = open(file.c_str(), O_CREAT | O_WRONLY, 0666);
  EXPECT_EQ(fchmod(fd, 0666), 0);  // Written by somebody else below.
  close(fd);
  for (const char* model : {"thread", "process"}) {
    outcome o =
        run({"lab", "million", "-n", "500", "--models", model, "--json", file}, [] { become_nobody_with_tasks(60); });
    EXPECT_EQ(o.status, 0) << o.err;
    json row = json::parse(content_of(file))["experiments"][0]["rows"][0];
    EXPECT_LT(row["activities"], 60) << row;
    EXPECT_GT(row["activities"], 30) << row;
    EXPECT_EQ(row["limit"], "RLIMIT_NPROC is 60") << row;
  }
  unlink(file.c_str());
}

TEST_F(lab, without_room_for_a_single_process_it_names_the_limit_and_fails) {
  for (const char* experiment : {"million", "c10k", "costs", "hog"}) {
    outcome o = run({"lab", experiment}, [] { become_nobody_with_tasks(1); });
    expect_sentence(o, 1, "RLIMIT_NPROC is 1");
  }
}

TEST_F(lab, a_model_without_room_for_one_activity_fails_and_names_the_limit) {
  outcome o = run({"lab", "million", "-n", "10", "--models", "thread"}, [] { become_nobody_with_tasks(2); });
  expect_sentence(o, 1, "RLIMIT_NPROC is 2");
}

TEST_F(lab, too_few_descriptors_are_refused_before_the_work) {
  outcome o = run({"lab", "c10k", "-n", "2000"}, [] { limit(RLIMIT_NOFILE, 512); });
  expect_sentence(o, 1, "RLIMIT_NOFILE");
  EXPECT_NE(o.err.find("512"), std::string::npos);
  expect_sentence(run({"lab", "million", "-n", "10"}, [] { limit(RLIMIT_NOFILE, 6); }), 1, "open files");
}

TEST_F(lab, more_connections_than_local_ports_are_refused) {
  rlimit own{};
  getrlimit(RLIMIT_NOFILE, &own);
  bool descriptors_bind_first = own.rlim_max < 100'064;
  expect_sentence(run({"lab", "c10k", "-n", "100000"}), 1,
                  descriptors_bind_first ? "RLIMIT_NOFILE" : "ip_local_port_range");
}

TEST_F(lab, a_soft_descriptor_limit_is_raised) {
  outcome o = run({"lab", "c10k", "-n", "100", "--seconds", "0.3", "--models", "event-loop"}, [] {
    rlimit r{};
    getrlimit(RLIMIT_NOFILE, &r);
    r.rlim_cur = 64;
    setrlimit(RLIMIT_NOFILE, &r);
  });
  EXPECT_EQ(o.status, 0) << o.err;
}

TEST_F(lab, c10k_serves_every_connection_in_every_model) {
  std::string file = temporary_file("c10k.json");
  outcome o = run({"lab", "c10k", "-n", "60", "--seconds", "0.5", "--wait-ms", "20", "--json", file});
  EXPECT_EQ(o.status, 0) << o.err;
  json rows = results(file)["experiments"][0]["rows"];
  ASSERT_EQ(rows.size(), 7u);
  for (const json& row : rows) {
    EXPECT_EQ(row["connections"], 60) << row;
    EXPECT_EQ(row["corrupt"], 0) << row;
    EXPECT_EQ(row["lost"], 0) << row;
    EXPECT_GT(row["requests"], 0) << row;
    EXPECT_GE(row["p50_us"], 20'000 * 0.99) << row;  // Nobody answers before the "database".
    EXPECT_LE(row["p50_us"], row["p999_us"]) << row;
  }
}

TEST_F(lab, c10k_says_with_how_many_connections_a_model_ran_and_why) {
  std::string file = temporary_file("fewer.json");
  close(open(file.c_str(), O_CREAT | O_WRONLY, 0666));
  chmod(file.c_str(), 0666);
  outcome o = run({"lab", "c10k", "-n", "100", "--seconds", "0.3", "--models", "process", "--json", file},
                  [] { become_nobody_with_tasks(40); });
  EXPECT_EQ(o.status, 0) << o.err;
  json row = results(file)["experiments"][0]["rows"][0];
  EXPECT_LT(row["connections"], 40) << row;
  EXPECT_GT(row["connections"], 20) << row;
  EXPECT_EQ(row["limit"], "RLIMIT_NPROC is 40") << row;
  EXPECT_NE(o.out.find("of 100 connections"), std::string::npos) << o.out;
}

// A port that somebody else listens on.
class busy_port {
 public:
  busy_port() : descriptor_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    address_.sin_family = AF_INET;
    address_.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address_;
    bind(descriptor_, reinterpret_cast<sockaddr*>(&address_), size);
    listen(descriptor_, 1);
    getsockname(descriptor_, reinterpret_cast<sockaddr*>(&address_), &size);
  }
  ~busy_port() { close(descriptor_); }
  std::string number() const { return std::to_string(ntohs(address_.sin_port)); }

 private:
  int descriptor_;
  sockaddr_in address_{};
};

TEST_F(lab, a_busy_port_is_named_by_every_server) {
  busy_port busy;
  for (const char* model : {"process", "thread", "pool", "event-loop", "fiber", "fiber-borrow", "task"}) {
    SCOPED_TRACE(model);
    expect_sentence(run({"lab", "c10k", "-n", "10", "--models", model, "--port", busy.number()}), 1,
                    "port " + busy.number() + " on 127.0.0.1 is already in use");
  }
}

TEST_F(lab, costs_measures_everything) {
  std::string file = temporary_file("costs.json");
  outcome o = run({"lab", "costs", "--scale", "1", "--json", file});
  EXPECT_EQ(o.status, 0) << o.err;
  json rows = results(file)["experiments"][0]["rows"];
  ASSERT_EQ(rows.size(), 4u);
  for (const json& row : rows)
    for (const char* key : {"create_join_ns", "switch_ns", "round_trip_ns", "rest_bytes"})
      EXPECT_GT(row[key], 0) << row;
}

TEST_F(lab, crash_shows_who_loses_one_job_and_who_loses_all) {
  std::string file = temporary_file("crash.json");
  outcome o = run({"lab", "crash", "--jobs", "200", "--job-ms", "0.5", "--json", file});
  ASSERT_EQ(o.status, 0) << o.err;
  for (const json& row : json::parse(content_of(file))["experiments"][0]["rows"]) {
    const bool isolated = row["model"] == "process" || row["model"] == "process-pool";
    EXPECT_EQ(row["failed"], isolated ? 1 : 0) << row;
    if (isolated)
      EXPECT_EQ(row["done"], 199) << row;
    else
      EXPECT_LT(row["done"], 200) << row;
    EXPECT_NE(row["told"].get<std::string>().find("signal 11"), std::string::npos) << row;
  }
}

TEST_F(lab, hog_shows_who_is_protected) {
  std::string file = temporary_file("hog.json");
  outcome o = run({"lab", "hog", "--seconds", "0.5", "--json", file});
  EXPECT_EQ(o.status, 0) << o.err;
  json rows = results(file)["experiments"][0]["rows"];
  ASSERT_GE(rows.size(), 5u * 2);  // Five models, beside no hog and at least one.
  for (const json& row : rows) {
    if (row["model"] == "event-loop" && row["hogs"] > 0)
      EXPECT_LE(row["ticks"], 3) << row;
    else
      EXPECT_GT(row["ticks"], 3) << row;
  }
}

// Ends the laboratory with a signal when it has many processes.
void interrupt(int number, int expected, const std::vector<std::string>& arguments) {
  running lab(arguments);
  for (int i = 0; i < 1000 && descendants(lab.id()) < 50; ++i) std::this_thread::sleep_for(5ms);
  ASSERT_GE(descendants(lab.id()), 50);
  lab.send_signal(number);
  outcome o = lab.wait(30s);
  EXPECT_EQ(o.status, expected) << o.err;
  expect_nothing_left();
}

TEST_F(lab, interruption_leaves_nothing_behind) {
  std::vector<std::string> crowd = {"lab", "million", "-n", "300", "--sleep", "100", "--models", "process"};
  interrupt(SIGINT, 130, crowd);
  interrupt(SIGTERM, 143, crowd);
  interrupt(SIGHUP, 129, crowd);
  interrupt(SIGINT, 130, {"lab", "c10k", "-n", "100", "--seconds", "100", "--models", "process"});
}

TEST_F(lab, even_a_killed_lab_leaves_nothing_behind) {
  interrupt(SIGKILL, 137, {"lab", "million", "-n", "300", "--sleep", "100", "--models", "process"});
  interrupt(SIGKILL, 137, {"lab", "c10k", "-n", "100", "--seconds", "100", "--models", "process"});
}

TEST_F(lab, a_child_that_is_killed_is_reported) {
  running lab({"lab", "million", "-n", "10", "--sleep", "100", "--models", "thread"});
  pid_t child = 0;
  for (int i = 0; i < 1000 && child == 0; ++i) {
    std::this_thread::sleep_for(5ms);
    std::string id = std::to_string(lab.id());
    std::istringstream(content_of("/proc/" + id + "/task/" + id + "/children")) >> child;
  }
  ASSERT_GT(child, 0);
  std::this_thread::sleep_for(100ms);
  kill(child, SIGKILL);
  expect_sentence(lab.wait(), 1, "million/thread was killed by signal 9");
}

}  // namespace
