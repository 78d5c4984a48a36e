// A variable of which every fiber has its own: thread_local for fibers. Plain threads have one each too.
//
//   static thrum::fiber_local<std::string> scratch;                     // Constructed as T() at the fiber's first use.
//   static thrum::fiber_local<parser> parsers([] { return parser(dialect::strict); });
//
//   scratch->assign("mine");
//
// A fiber's values are destroyed on the fiber, after its function has returned and before whoever joins it, or the
// scope that it is a child of, goes on (a result of scope::async may be there before); in the reverse order of their
// construction. A thread's are destroyed at the thread's end. Children inherit nothing: context_value.hpp is for that.
//
// None of the calls suspends, unless T's constructor or destructor does. All from any fiber or thread, each for itself;
// references stay valid until the value is destroyed. A use is a search among the values that the fiber has, so have
// few, or one structure. Fibers that use none pay nothing. Meant for static storage: a fiber_local may go before the
// fibers that used it, but their values stay until those end.
#pragma once

#include <cstdint>
#include <type_traits>
#include <utility>

#include <thrum/detail/local_key.hpp>

namespace thrum {
namespace detail {

// A fiber's value of one fiber_local. They are linked, the newest first.
struct local_value {
  explicit local_value(std::uint64_t key) noexcept : key(key) {}
  virtual ~local_value() = default;

  const std::uint64_t key;
  local_value* older = nullptr;
};

// Of the calling fiber or thread.
local_value* find_local(const local_key& key) noexcept;
void add_local(local_value* v);                  // Takes it over; throws std::bad_alloc and has destroyed it.
void drop_local(const local_key& key) noexcept;  // Destroys it if there is one.

}  // namespace detail

template <class T>
class fiber_local {
 public:
  constexpr fiber_local() noexcept requires std::is_default_constructible_v<T> : make_([] { return T(); }) {}
  constexpr explicit fiber_local(T (*make)()) noexcept : make_(make) {}

  // The caller's value. Constructs it when there is none; throws what that throws, and std::bad_alloc.
  T& get() {
    if (auto* v = detail::find_local(key_)) return static_cast<holder*>(v)->value;
    auto* made = new holder(key_.number(), make_);
    detail::add_local(made);
    return made->value;
  }
  T& operator*() { return get(); }
  T* operator->() { return &get(); }

  // The caller's value, or null when there is none.
  T* find() noexcept {
    auto* v = detail::find_local(key_);
    return v ? &static_cast<holder*>(v)->value : nullptr;
  }

  // Destroys the caller's value now; the next use constructs another.
  void reset() noexcept { detail::drop_local(key_); }

 private:
  struct holder final : detail::local_value {
    holder(std::uint64_t key, T (*make)()) : local_value(key), value(make()) {}
    T value;
  };

  detail::local_key key_;
  T (*const make_)();
};

}  // namespace thrum
