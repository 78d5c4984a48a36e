// Simulated disks: what a cut of power may leave of files and names and what it must, and disks that are full or fail.
#include <thrum/sim_disk.hpp>

#include <array>
#include <functional>
#include <set>
#include <stdexcept>
#include <string>
#include <string_view>

#include <thrum/sim.hpp>
#include <thrum/sim_network.hpp>
#include <thrum/thrum.hpp>

#include "file_support.hpp"
#include "support.hpp"

namespace thrum {
namespace {

using namespace test;

constexpr int seeds = 200;

// What `look` finds in the end, over many seeds.
std::set<std::string> outcomes(const std::function<std::string()>& look) {
  std::set<std::string> all;
  for (std::uint64_t seed = 1; seed <= seeds; ++seed) sim::run({.seed = seed}, [&] { all.insert(look()); });
  return all;
}

std::string contents(const std::string& path) {
  std::error_code error;
  auto all = read_file(path, error);
  return error ? error.message() : all;
}
const std::string nothing = std::make_error_code(std::errc::no_such_file_or_directory).message();

void sync_directory(const std::string& path) { file::open(path).sync(); }

// The file is there, with that in it, whatever happens.
void put(const std::string& path, std::string_view what) {
  auto f = file::open(path, {.write = true, .create = true, .truncate = true});
  f.write_all(bytes(what));
  f.data_sync();
  sync_directory("/tmp");
}

TEST(sim_disk, what_was_synced_survives) {
  const auto all = outcomes([] {
    put("/tmp/a", "one");
    auto f = file::open("/tmp/a", {.append = true});
    f.write_all(bytes(" two"));
    f.sync();
    sim::cut_power();
    return contents("/tmp/a");
  });
  EXPECT_EQ(all, std::set<std::string>{"one two"});
}

TEST(sim_disk, an_unsynced_write_is_there_or_not_or_torn_by_sectors) {
  const std::string old(1024, 'o'), fresh(1024, 'n'), first(512, 'n'), second(512, 'o');
  const auto all = outcomes([&] {
    put("/tmp/a", old);
    auto f = file::open("/tmp/a", {.write = true});
    f.write_all(bytes(fresh));
    sim::cut_power();
    return contents("/tmp/a");
  });
  EXPECT_TRUE(all.contains(old));
  EXPECT_TRUE(all.contains(fresh));
  EXPECT_TRUE(all.contains(first + second));
  EXPECT_TRUE(all.contains(std::string(512, 'o') + std::string(512, 'n')));
}

TEST(sim_disk, writes_are_lost_each_by_itself) {
  const auto all = outcomes([] {
    put("/tmp/a", "..");
    auto f = file::open("/tmp/a", {.write = true});
    f.write_at(0, bytes("1"));
    f.write_at(1, bytes("2"));
    sim::cut_power();
    return contents("/tmp/a");
  });
  EXPECT_EQ(all, (std::set<std::string>{"..", "1.", ".2", "12"}));
}

TEST(sim_disk, a_new_name_needs_its_directory_synced) {
  const auto create = [] {
    auto f = file::open("/tmp/a", {.write = true, .create = true});
    f.write_all(bytes("x"));
    f.sync();
  };
  EXPECT_EQ(outcomes([&] {
              create();
              sim::cut_power();
              return contents("/tmp/a");
            }),
            (std::set<std::string>{"x", nothing}));
  EXPECT_EQ(outcomes([&] {
              create();
              sync_directory("/tmp");
              sim::cut_power();
              return contents("/tmp/a");
            }),
            (std::set<std::string>{"x"}));
}

TEST(sim_disk, names_change_in_order) {
  const auto all = outcomes([] {
    make_directory("/tmp/d");
    make_directory("/tmp/d/e");
    remove_file("/tmp/d/e");
    make_directory("/tmp/f");
    sim::cut_power();
    const auto has = [](const char* path) {
      std::error_code error;
      stat_file(path, error);
      return !error;
    };
    return std::string(has("/tmp/d") ? "d" : "") + (has("/tmp/d/e") ? "e" : "") + (has("/tmp/f") ? "f" : "");
  });
  EXPECT_EQ(all, (std::set<std::string>{"", "d", "de", "df"}));
}

// The usual way to replace a file.
void replace(const std::string& path, std::string_view what, bool syncs) {
  auto f = file::open(path + ".new", {.write = true, .create = true, .truncate = true});
  f.write_all(bytes(what));
  if (syncs) f.data_sync();
  f.close();
  rename_file(path + ".new", path);
}

TEST(sim_disk, a_rename_is_there_or_not_but_without_sync_its_file_may_be_empty) {
  const auto replaced = [](bool syncs) {
    return outcomes([syncs] {
      put("/tmp/a", "old");
      replace("/tmp/a", "new", syncs);
      sim::cut_power();
      return contents("/tmp/a");
    });
  };
  EXPECT_EQ(replaced(true), (std::set<std::string>{"old", "new"}));
  EXPECT_TRUE(replaced(false).contains(""));
}

TEST(sim_disk, the_mistake_is_found_and_its_repair_is_not_accused) {
  const auto program = [](bool syncs) {
    return [syncs] {
      put("/tmp/a", "old");
      scope s;
      s.go([&] { replace("/tmp/a", "new", syncs); });
      s.go([&] {
        this_fiber::sleep_for(5us);
        sim::cut_power();
        s.cancel();
      });
      try {
        s.join();
      } catch (const std::system_error&) {  // The file was open.
      }
      const auto found = contents("/tmp/a");
      if (found != "old" && found != "new") throw std::runtime_error("the file is lost");
    };
  };
  EXPECT_FALSE(sim::check(program(false), {.schedules = 2000}).passed);
  const auto repaired = sim::check(program(true), {.schedules = 500});
  EXPECT_TRUE(repaired.passed) << repaired.report;
}

TEST(sim_disk, what_was_open_fails_afterwards) {
  sim::run({.seed = 1}, [] {
    put("/tmp/a", "x");
    auto f = file::open("/tmp/a", {.read = true, .write = true});
    sim::cut_power();
    std::error_code error;
    std::array<char, 4> buffer;
    f.read_some(room(buffer), error);
    EXPECT_EQ(error, std::errc::io_error);
    f.write_all(bytes("y"), error);
    EXPECT_EQ(error, std::errc::io_error);
    f.sync(error);
    EXPECT_EQ(error, std::errc::io_error);
    f.close(error);
    EXPECT_FALSE(error);
    EXPECT_EQ(contents("/tmp/a"), "x");
  });
}

TEST(sim_disk, can_be_full) {
  sim::run({.seed = 1}, [] {
    sim::set_disk("", {.capacity = 10});
    auto f = file::open("/tmp/a", {.write = true, .create = true});
    std::error_code error;
    EXPECT_EQ(f.write_all(bytes("0123456789ab"), error), 10u);
    EXPECT_EQ(error, std::errc::no_space_on_device);
    f.truncate(11, error);
    EXPECT_EQ(error, std::errc::no_space_on_device);
    f.write_at(2, bytes("xy"));
    EXPECT_EQ(contents("/tmp/a"), "01xy456789");
    f.truncate(4);
    auto other = file::open("/tmp/b", {.write = true, .create = true});
    EXPECT_EQ(other.write_all(bytes("0123456789"), error), 6u);
    remove_file("/tmp/a");
    sim::set_disk("", {});
    other.write_all(bytes("and more"));
  });
}

// Linux forgets what it could not write, and the next sync knows nothing of it.
TEST(sim_disk, a_sync_that_fails_has_lost_what_it_was_to_sync) {
  sim::run({.seed = 1}, [] {
    put("/tmp/a", "old");
    auto f = file::open("/tmp/a", {.write = true});
    f.write_all(bytes("new"));
    sim::set_disk("", {.one_in_errors = 1});
    std::error_code error;
    f.sync(error);
    EXPECT_EQ(error, std::errc::io_error);
    sim::set_disk("", {});
    EXPECT_EQ(contents("/tmp/a"), "new");
    f.sync();
    sim::cut_power();
    EXPECT_EQ(contents("/tmp/a"), "old");
  });
}

TEST(sim_disk, each_host_has_its_own) {
  sim::run({.seed = 1}, [] {
    write_file("/tmp/a", "here");
    sim::on_host("10.0.0.1", [] {
      EXPECT_EQ(contents("/tmp/a"), nothing);
      put("/tmp/a", "there");
    });
    sim::cut_power("10.0.0.1");
    EXPECT_EQ(contents("/tmp/a"), "here");
    sim::on_host("10.0.0.1", [] { EXPECT_EQ(contents("/tmp/a"), "there"); });
    EXPECT_THROW(sim::cut_power("nonsense"), std::invalid_argument);
  });
  EXPECT_THROW(sim::cut_power(), std::logic_error);
}

TEST(sim_disk, paths_and_names_are_as_those_of_the_kernel) {
  const auto refused = [](std::errc why, auto f) {
    std::error_code error;
    f(error);
    EXPECT_EQ(error, why);
  };
  sim::run({.seed = 1}, [&] {
    make_directory("/tmp/d");
    write_file("/tmp/d/a", "x");
    refused(std::errc::not_a_directory, [](auto& e) { read_file("/tmp/d/a/b", e); });
    refused(std::errc::no_such_file_or_directory, [](auto& e) { read_file("/tmp/none/b", e); });
    refused(std::errc::no_such_file_or_directory, [](auto& e) { read_file("", e); });
    refused(std::errc::is_a_directory, [](auto& e) { write_file("/tmp/d", "x", e); });
    refused(std::errc::is_a_directory, [](auto& e) { read_file("/tmp/d", e); });
    refused(std::errc::file_exists, [](auto& e) { make_directory("/tmp/d/a", e); });
    refused(std::errc::directory_not_empty, [](auto& e) { remove_file("/tmp/d", e); });
    refused(std::errc::device_or_resource_busy, [](auto& e) { remove_file("/", e); });
    refused(std::errc::invalid_argument, [](auto& e) { rename_file("/tmp/d", "/tmp/d/inside", e); });
    refused(std::errc::not_a_directory, [](auto& e) { rename_file("/tmp/d", "/tmp/d/../d/a", e); });
    make_directory("/tmp/empty");
    refused(std::errc::is_a_directory, [](auto& e) { rename_file("/tmp/d/a", "/tmp/empty", e); });
    rename_file("/tmp/d", "/tmp/empty");
    EXPECT_EQ(contents("tmp/empty//./a"), "x");
    auto f = file::open("/tmp/empty/a");
    remove_file("/tmp/empty/a");
    std::array<char, 4> buffer;
    EXPECT_EQ(f.read_all(room(buffer)), 1u);  // It lives on while it is open.
    EXPECT_TRUE(list_directory("/tmp/empty").empty());
  });
}

}  // namespace
}  // namespace thrum
