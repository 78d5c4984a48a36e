// Wrong uses of thrum's locks, each with what Clang's thread safety analysis has to say. Compiled, never run.
#include <mutex>

#include <thrum/thrum.hpp>

struct account {
  thrum::mutex m;
  thrum::mutex other;
  int balance THRUM_GUARDED_BY(m) = 0;
  int* history THRUM_PT_GUARDED_BY(m) = nullptr;

  void without_the_lock() {
    ++balance;     // expected-error {{writing variable 'balance' requires holding mutex 'm' exclusively}}
    *history = 1;  // expected-error {{writing the value pointed to by 'history' requires holding mutex 'm'}}
  }
  void under_another_lock() {
    thrum::lock_guard hold(other);
    ++balance;  // expected-error {{requires holding mutex 'm' exclusively}}
  }
  void after_the_unlock() {
    thrum::unique_lock hold(m);
    hold.unlock();
    ++balance;  // expected-error {{requires holding mutex 'm' exclusively}}
  }
  void never_unlocks() {
    m.lock();  // expected-note {{mutex acquired here}}
    ++balance;
  }  // expected-error {{mutex 'm' is still held at the end of function}}
  void unlocks_on_one_path(bool yes) {
    m.lock();  // expected-note {{mutex acquired here}}
    if (yes) m.unlock();
  }  // expected-error {{mutex 'm' is not held on every path through here}}
  void locks_twice() {
    thrum::lock_guard hold(m);         // expected-note {{mutex acquired here}}
    const thrum::lock_guard again(m);  // expected-error {{acquiring mutex 'm' that is already held}}
  }
  void unlocks_what_is_free() {
    m.unlock();  // expected-error {{releasing mutex 'm' that was not held}}
  }
  void forgets_that_it_tried() {
    m.try_lock();
    ++balance;  // expected-error {{requires holding mutex 'm' exclusively}}
  }
  void needs_it() THRUM_REQUIRES(m) { ++balance; }
  void calls() {
    needs_it();  // expected-error {{calling function 'needs_it' requires holding mutex 'm' exclusively}}
  }
  void std_is_not_seen() {
    std::lock_guard hold(m);
    ++balance;  // expected-error {{requires holding mutex 'm' exclusively}}
  }
};

struct others {
  thrum::timed_mutex timed;
  thrum::recursive_mutex recursive;
  thrum::shared_mutex shared;
  int a THRUM_GUARDED_BY(timed) = 0;
  int b THRUM_GUARDED_BY(recursive) = 0;
  int c THRUM_GUARDED_BY(shared) = 0;

  int without_the_locks() {
    ++a;       // expected-error {{requires holding mutex 'timed' exclusively}}
    ++b;       // expected-error {{requires holding mutex 'recursive' exclusively}}
    return c;  // expected-error {{reading variable 'c' requires holding shared_mutex 'shared'}}
  }
  void too_late() {
    if (timed.try_lock_for(std::chrono::seconds(1))) timed.unlock();
    ++a;  // expected-error {{requires holding mutex 'timed' exclusively}}
  }
  void writes_as_a_reader() {
    thrum::shared_lock hold(shared);
    ++c;  // expected-error {{writing variable 'c' requires holding shared_mutex 'shared' exclusively}}
  }
  void reader_and_writer() {
    thrum::shared_lock reading(shared);       // expected-note {{shared_mutex acquired here}}
    const thrum::lock_guard writing(shared);  // expected-error {{acquiring shared_mutex 'shared' that is already held}}
  }
};

void twice(thrum::guarded<int>& n) {
  auto first = n.lock();   // expected-note {{guarded acquired here}}
  auto second = n.lock();  // expected-error {{acquiring guarded 'n' that is already held}}
}

void within_itself(thrum::guarded<int>& n) {
  auto held = n.lock();
  n.with([](int&) {});  // expected-error {{cannot call function 'with' while guarded 'n' is held}}
}

void in_one_expression(thrum::guarded<int>& n) {
  *n.lock() = *n.lock() + 1;  // expected-error {{acquiring guarded 'n' that is already held}} expected-note {{here}}
}

void read_and_written(thrum::guarded<int, thrum::shared_mutex>& n) {
  auto reading = n.read();  // expected-note {{guarded acquired here}}
  ++*n.lock();              // expected-error {{acquiring guarded 'n' that is already held}}
}

void waited_for_while_held(thrum::guarded<int>& n) {
  auto held = n.lock();                                      // expected-note {{guarded acquired here}}
  auto full = n.wait([](const int& v) { return v == 10; });  // expected-error {{acquiring guarded 'n'}}
}
