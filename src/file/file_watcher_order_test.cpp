// Which events inotify(7) makes of what happens to files, and in which order: of the kernel, and so of simulated disks.
#include <algorithm>
#include <array>
#include <map>
#include <string>
#include <vector>

#include <thrum/file_watcher.hpp>

#include "file_support.hpp"
#include "support.hpp"

namespace thrum {
namespace {

using namespace test;

class file_watcher_order_test : public on_workers {};
INSTANTIATE_TEST_SUITE_P(workers, file_watcher_order_test, worker_counts, count_name);

using lines = std::vector<std::string>;

std::string name_of(file_change change) {
  constexpr std::array names{"created", "removed",    "moved_from", "moved_to", "modified",
                             "written", "attributes", "gone",       "ended",    "lost"};
  return names[static_cast<std::size_t>(change)];
}

// A scratch directory, and what a watcher tells of what is watched there, as lines: "dir created sub/". The ends of a
// move have its number.
class journal {
 public:
  void watch(const std::string& path, const std::string& as) {
    numbers_[as] = w_.watch(path, true);
    names_[numbers_[as]] = as;
  }
  void watch_modestly(const std::string& path, const std::string& as) { names_[w_.watch(path)] = as; }
  void unwatch(const std::string& as) { w_.unwatch(numbers_.at(as)); }
  int number(const std::string& as) const { return numbers_.at(as); }

  // Since the last time.
  lines told() {
    lines all;
    make_directory(last_ / std::to_string(++count_));
    for (;;)
      for (const auto& e : w_.receive()) {
        if (e.watch == end_) return all;
        all.push_back(as_line(e));
      }
  }

  const scratch_directory dir;

 private:
  std::string as_line(const file_event& e) {
    auto line = names_[e.watch] + ' ' + name_of(e.change);
    if (!e.name.empty()) line += ' ' + e.name;
    if (e.of_directory) line += '/';
    if (e.move == 0) return line;
    const auto move = moves_.emplace(e.move, moves_.size() + 1).first->second;
    return line + " #" + std::to_string(move);
  }

  const scratch_directory last_;
  file_watcher w_ = file_watcher::open();
  const int end_ = w_.watch(last_.path());
  std::map<std::string, int> numbers_;
  std::map<int, std::string> names_;
  std::map<std::uint32_t, std::size_t> moves_;
  int count_ = 0;
};

// In one piece: a simulated disk may take a longer one in several.
void append(const std::string& path) {
  auto f = file::open(path, {.append = true});
  f.write_all(bytes("x"));
}

TEST_P(file_watcher_order_test, a_file_is_created_modified_and_written) {
  run([] {
    journal j;
    j.watch(j.dir.path(), "dir");
    write_file(j.dir / "a", "x");
    EXPECT_EQ(j.told(), (lines{"dir created a", "dir modified a", "dir written a"}));
    write_file(j.dir / "a", "y");
    EXPECT_EQ(j.told(), (lines{"dir modified a", "dir written a"})) << "truncated and written to, which is one event";
    write_file(j.dir / "b", "");
    EXPECT_EQ(j.told(), (lines{"dir created b", "dir written b"}));
    write_file(j.dir / "b", "");
    EXPECT_EQ(j.told(), (lines{"dir modified b", "dir written b"})) << "truncated, though it was empty";
    EXPECT_EQ(read_file(j.dir / "a"), "y");
    EXPECT_EQ(stat_file(j.dir / "a").size, 1u);
    EXPECT_EQ(list_directory(j.dir.path()).size(), 2u);
    EXPECT_EQ(j.told(), lines{}) << "nobody has changed anything";
  });
}

TEST_P(file_watcher_order_test, of_a_file_its_directory_is_told_first) {
  run([] {
    journal j;
    write_file(j.dir / "a", "");
    j.watch(j.dir / "a", "file");
    j.watch(j.dir.path(), "dir");
    append(j.dir / "a");
    EXPECT_EQ(j.told(), (lines{"dir modified a", "file modified", "dir written a", "file written"}));
    auto f = file::open(j.dir / "a", {.read = true, .write = true});
    f.truncate(1);
    EXPECT_EQ(j.told(), (lines{"dir modified a", "file modified"})) << "by as much as there was";
    f.close();
    EXPECT_EQ(j.told(), (lines{"dir written a", "file written"})) << "by who could have";
    f = file::open(j.dir / "a");
    f.close();
    EXPECT_EQ(j.told(), lines{});
  });
}

TEST_P(file_watcher_order_test, equal_events_in_a_row_are_one) {
  run([] {
    journal j;
    write_file(j.dir / "a", "");
    write_file(j.dir / "b", "");
    j.watch(j.dir.path(), "dir");
    auto a = file::open(j.dir / "a", {.write = true}), b = file::open(j.dir / "b", {.write = true});
    for (int i = 0; i < 3; ++i) a.write_all(bytes("x"));
    b.write_all(bytes("x"));
    a.write_all(bytes("x"));
    EXPECT_EQ(j.told(), (lines{"dir modified a", "dir modified b", "dir modified a"}));
    a.write_all(bytes("x"));
    EXPECT_EQ(j.told(), (lines{"dir modified a"})) << "what has been received is not what comes before it";
  });
}

TEST_P(file_watcher_order_test, a_watch_that_is_set_again_has_its_number_and_tells_what_was_asked_for_last) {
  run([] {
    journal j;
    write_file(j.dir / "a", "");
    j.watch(j.dir / "a", "file");
    const int before = j.number("file");
    j.watch_modestly(j.dir / "a", "file");
    append(j.dir / "a");
    EXPECT_EQ(j.told(), (lines{"file written"}));
    j.watch(j.dir / "a", "file");
    EXPECT_EQ(j.number("file"), before);
    append(j.dir / "a");
    j.unwatch("file");
    append(j.dir / "a");
    EXPECT_EQ(j.told(), (lines{"file modified", "file written", "file ended"}));
    j.watch(j.dir / "a", "file");
    EXPECT_GT(j.number("file"), before) << "numbers are not used again";
  });
}

TEST_P(file_watcher_order_test, a_file_that_is_removed_is_gone) {
  run([] {
    journal j;
    write_file(j.dir / "a", "");
    j.watch(j.dir.path(), "dir");
    j.watch(j.dir / "a", "file");
    remove_file(j.dir / "a");
    EXPECT_EQ(j.told(), (lines{"file attributes", "file gone", "file ended", "dir removed a"}));
    write_file(j.dir / "a", "");
    EXPECT_EQ(j.told(), (lines{"dir created a", "dir written a"})) << "this is another file";
  });
}

TEST_P(file_watcher_order_test, a_file_that_is_removed_while_it_is_open_is_gone_with_the_last_who_has_it) {
  run([] {
    journal j;
    write_file(j.dir / "a", "");
    j.watch(j.dir.path(), "dir");
    j.watch(j.dir / "a", "file");
    auto writer = file::open(j.dir / "a", {.write = true}), reader = file::open(j.dir / "a");
    remove_file(j.dir / "a");
    EXPECT_EQ(j.told(), (lines{"file attributes", "dir removed a"}));
    writer.write_all(bytes("x"));
    writer.close();
    EXPECT_EQ(j.told(), (lines{"dir modified a", "file modified", "dir written a", "file written"}));
    reader.close();
    EXPECT_EQ(j.told(), (lines{"file gone", "file ended"}));
  });
}

TEST_P(file_watcher_order_test, a_file_that_is_renamed_over_another_one) {
  run([] {
    journal j;
    write_file(j.dir / "a", "");
    write_file(j.dir / "b", "");
    j.watch(j.dir.path(), "dir");
    j.watch(j.dir / "a", "new");
    j.watch(j.dir / "b", "old");
    auto moving = file::open(j.dir / "a", {.write = true});
    rename_file(j.dir / "a", j.dir / "b");
    EXPECT_EQ(j.told(), (lines{"dir moved_from a #1", "dir moved_to b #1", "old attributes", "new gone", "old gone",
                               "old ended"}));
    moving.close();
    EXPECT_EQ(j.told(), (lines{"dir written b", "new written"})) << "by its new name";
    append(j.dir / "b");
    EXPECT_EQ(j.told(), (lines{"dir modified b", "new modified", "dir written b", "new written"}));
    rename_file(j.dir / "b", j.dir / "b");
    EXPECT_EQ(j.told(), lines{});
  });
}

TEST_P(file_watcher_order_test, a_file_that_is_open_keeps_the_name_that_another_has_taken) {
  run([] {
    journal j;
    write_file(j.dir / "a", "");
    write_file(j.dir / "b", "");
    j.watch(j.dir.path(), "dir");
    j.watch(j.dir / "b", "old");
    auto replaced = file::open(j.dir / "b", {.write = true});
    rename_file(j.dir / "a", j.dir / "b");
    EXPECT_EQ(j.told(), (lines{"dir moved_from a #1", "dir moved_to b #1", "old attributes"}));
    replaced.close();
    EXPECT_EQ(j.told(), (lines{"dir written b", "old written", "old gone", "old ended"}));
  });
}

TEST_P(file_watcher_order_test, what_is_moved_from_one_directory_to_another) {
  run([] {
    journal j;
    for (const char* name : {"x", "y", "x/sub"}) make_directory(j.dir / name);
    write_file(j.dir / "x/sub/a", "");
    j.watch(j.dir / "x", "x");
    j.watch(j.dir / "y", "y");
    j.watch(j.dir / "x/sub", "sub");
    rename_file(j.dir / "x/sub", j.dir / "y/below");
    EXPECT_EQ(j.told(), (lines{"x moved_from sub/ #1", "y moved_to below/ #1", "sub gone"}));
    append(j.dir / "y/below/a");
    EXPECT_EQ(j.told(), (lines{"sub modified a", "sub written a"})) << "it is still watched";
    rename_file(j.dir / "y/below/a", j.dir / "a");
    EXPECT_EQ(j.told(), (lines{"sub moved_from a #2"})) << "to where nobody watches";
    rename_file(j.dir / "a", j.dir / "x/a");
    EXPECT_EQ(j.told(), (lines{"x moved_to a #3"}));
    append(j.dir / "x/a");
    EXPECT_EQ(j.told(), (lines{"x modified a", "x written a"}));
  });
}

TEST_P(file_watcher_order_test, a_directory_that_is_made_and_removed) {
  run([] {
    journal j;
    j.watch(j.dir.path(), "dir");
    make_directory(j.dir / "sub");
    j.watch(j.dir / "sub", "sub");
    make_directory(j.dir / "sub/below");
    remove_file(j.dir / "sub/below");
    remove_file(j.dir / "sub");
    EXPECT_EQ(j.told(), (lines{"dir created sub/", "sub created below/", "sub removed below/", "sub gone", "sub ended",
                               "dir removed sub/"}));
  });
}

TEST_P(file_watcher_order_test, a_directory_that_is_open_or_replaced_by_another) {
  run([] {
    journal j;
    j.watch(j.dir.path(), "dir");
    for (const char* name : {"x", "y"}) make_directory(j.dir / name);
    j.watch(j.dir / "x", "x");
    j.watch(j.dir / "y", "y");
    rename_file(j.dir / "x", j.dir / "y");
    EXPECT_EQ(j.told(), (lines{"dir created x/", "dir created y/", "dir moved_from x/ #1", "dir moved_to y/ #1",
                               "y attributes/", "x gone", "y gone", "y ended"}));
    auto f = file::open(j.dir / "y");
    remove_file(j.dir / "y");
    EXPECT_EQ(j.told(), (lines{"dir removed y/"}));
    f.close();
    EXPECT_EQ(j.told(), (lines{"x gone", "x ended"}));
  });
}

TEST_P(file_watcher_order_test, a_directory_is_not_gone_before_what_was_in_it) {
  run([] {
    journal j;
    for (const char* name : {"sub", "sub/below"}) make_directory(j.dir / name);
    write_file(j.dir / "sub/below/a", "");
    j.watch(j.dir.path(), "dir");
    j.watch(j.dir / "sub", "sub");
    j.watch(j.dir / "sub/below", "below");
    auto f = file::open(j.dir / "sub/below/a", {.write = true});
    for (const char* name : {"sub/below/a", "sub/below", "sub"}) remove_file(j.dir / name);
    EXPECT_EQ(j.told(), (lines{"below removed a", "sub removed below/", "dir removed sub/"}));
    make_directory(j.dir / "sub");
    EXPECT_EQ(j.told(), (lines{"dir created sub/"}));
    f.close();
    EXPECT_EQ(j.told(), (lines{"below written a", "below gone", "below ended", "sub gone", "sub ended"}));
  });
}

TEST_P(file_watcher_order_test, a_file_that_is_handed_on_is_written_when_the_last_who_has_it_closes) {
  run([] {
    journal j;
    j.watch(j.dir.path(), "dir");
    auto f = file::open(j.dir / "a", {.write = true, .create = true});
    auto [sender, receiver] = net::unix_stream::pair();
    sender.send_descriptor(f.native_handle(), bytes("x"));
    f.close();
    EXPECT_EQ(j.told(), (lines{"dir created a"})) << "it is under way";
    std::array<std::byte, 1> one;
    net::descriptor received;
    EXPECT_EQ(receiver.receive_descriptor(one, received), 1u);
    EXPECT_EQ(j.told(), lines{});
    received.close();
    EXPECT_EQ(j.told(), (lines{"dir written a"}));
  });
}

TEST_P(file_watcher_order_test, sockets_are_files_that_are_held_by_those_who_talk_by_them) {
  run([] {
    journal j;
    j.watch(j.dir.path(), "dir");
    auto listener = net::unix_listener::bind(j.dir / "s");
    j.watch(j.dir / "s", "socket");
    auto client = net::unix_stream::connect(j.dir / "s");
    auto server = listener.accept();
    rename_file(j.dir / "s", j.dir / "t");
    remove_file(j.dir / "t");
    EXPECT_EQ(j.told(), (lines{"dir created s", "dir moved_from s #1", "dir moved_to t #1", "socket gone",
                               "socket attributes", "dir removed t"}));
    listener.close();
    EXPECT_EQ(j.told(), lines{});
    server.close();
    EXPECT_EQ(j.told(), (lines{"socket gone", "socket ended"}));
  });
}

TEST_P(file_watcher_order_test, a_socket_takes_its_file_away) {
  run([] {
    journal j;
    j.watch(j.dir.path(), "dir");
    {
      auto listener = net::unix_listener::bind(j.dir / "s");
      j.watch(j.dir / "s", "socket");
    }
    EXPECT_EQ(j.told(), (lines{"dir created s", "socket attributes", "dir removed s", "socket gone", "socket ended"}));
  });
}

TEST_P(file_watcher_order_test, each_watcher_is_told_and_those_that_are_closed_tell_nobody) {
  run([] {
    journal j, other;
    j.watch(j.dir.path(), "dir");
    other.watch(j.dir.path(), "the same");
    {
      journal closed;
      closed.watch(j.dir.path(), "dir");
    }
    make_directory(j.dir / "a");
    EXPECT_EQ(j.told(), (lines{"dir created a/"}));
    EXPECT_EQ(other.told(), (lines{"the same created a/"}));
  });
}

}  // namespace
}  // namespace thrum
