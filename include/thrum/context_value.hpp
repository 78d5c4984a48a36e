// Values that belong to an activity and everything below it: a request's number, who asks, where to log.
//
//   static thrum::context_key<std::string> user;
//
//   void serve(request r) {
//     thrum::context_value as(user, r.user);      // In force to the end of the block.
//     thrum::for_each_concurrent(r.parts, 8, handle);
//   }
//   void handle(part p) { log(user.get(), p); }   // Without having been passed it.
//
// A binding is in force in the fiber that made it until its context_value is destroyed, and in every fiber that is
// started meanwhile from a fiber in which it is in force, by go, spawn or a scope: in these to their end, also when the
// binding itself has gone by then. An inner binding of the same key hides the outer one. Values are constant and
// shared; each is destroyed by the last fiber that could see it. Plain threads have bindings too, and hand them to the
// fibers that they start in a runtime, but not to other threads.
//
// None of the calls suspends. Reading searches the bindings from the innermost. Starting a fiber costs an allocation
// while a binding is in force, nothing otherwise.
//
// The idea is that of Java's ScopedValue; Go's context.Value is the same, passed by hand.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <type_traits>
#include <utility>

#include <thrum/detail/local_key.hpp>

namespace thrum {

// context_key::get() where no binding is in force.
class no_context_value : public std::logic_error {
 public:
  no_context_value() : std::logic_error("thrum: no context_value of this key is in force here") {}
};

namespace detail {

// A binding. Constant once it is in force, and shared by the fibers that see it.
struct context_node {
  explicit context_node(std::uint64_t key) noexcept : key(key) {}
  virtual ~context_node() = default;

  const std::uint64_t key;
  context_node* outer = nullptr;  // Owns a reference to it.
  std::atomic<std::size_t> references{1};
};

// Of the calling fiber or thread.
const context_node* find_context(const local_key& key) noexcept;
void enter_context(context_node* n);           // Takes it over; throws std::bad_alloc and has destroyed it.
void leave_context(context_node* n) noexcept;  // Ends the process unless it is the innermost.

}  // namespace detail

template <class T>
class context_value;

// A name for values of type T. Meant for static storage.
template <class T>
class context_key {
 public:
  constexpr context_key() noexcept = default;

  // The value of the innermost binding; valid as long as that is in force for the caller. Throws no_context_value.
  const T& get() const {
    const T* value = find();
    if (!value) throw no_context_value();
    return *value;
  }
  // The same; null when there is none.
  const T* find() const noexcept {
    const auto* n = detail::find_context(key_);
    return n ? &static_cast<const node*>(n)->value : nullptr;
  }
  // A copy; the fallback when there is none.
  T get_or(T fallback) const {
    const T* value = find();
    return value ? *value : std::move(fallback);
  }

 private:
  friend class context_value<T>;
  struct node final : detail::context_node {
    node(std::uint64_t key, T&& v) : context_node(key), value(std::move(v)) {}
    const T value;
  };

  detail::local_key key_;
};

// A binding: in force from its construction to its destruction. A local variable: bindings end in the reverse order of
// their beginning and in the fiber that made them, or the process ends with one clear sentence.
template <class T>
class [[nodiscard]] context_value {
 public:
  // Throws std::bad_alloc.
  context_value(const context_key<T>& key, std::type_identity_t<T> value)
      : node_(new typename context_key<T>::node(key.key_.number(), std::move(value))) {
    detail::enter_context(node_);
  }
  ~context_value() { detail::leave_context(node_); }
  context_value(const context_value&) = delete;
  context_value& operator=(const context_value&) = delete;

 private:
  detail::context_node* node_;
};

}  // namespace thrum
