// A call of a function in another process of the same program: what is sent, what is run there, what comes back.
#pragma once

#include <cstddef>
#include <exception>
#include <functional>
#include <optional>
#include <string>
#include <system_error>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include <thrum/wire.hpp>

namespace thrum {

namespace detail {

class pool_core;  // src/process/pool_core.hpp

template <class P>
inline constexpr bool is_function_pointer = std::is_pointer_v<P>&& std::is_function_v<std::remove_pointer_t<P>>;

}  // namespace detail

// A function, a pointer to one, or a lambda that captures nothing and is not generic.
template <class F>
concept remote_function = requires(F f) {
  +f;
  requires detail::is_function_pointer<decltype(+f)>;
};

namespace detail {

using any_function = void (*)();
// Runs in the worker: reads the arguments, ends reading, calls, writes the result.
using remote_thunk = void (*)(wire_reader& in, wire_writer& out, any_function f);

// One call as the pool sees it.
struct remote_message {
  remote_message(remote_thunk thunk, any_function f);  // Throws std::system_error when it is in no module.
  remote_message(remote_message&&) = default;
  virtual ~remote_message() = default;
  virtual void accept(wire_reader& in) = 0;  // The answer; throws wire_error.
  void throw_failure() const;

  wire_writer out;  // The arguments, after room for what the pool adds.
  std::error_code error;
  std::string text;
};

template <class F>
struct remote_signature;
template <class R, class... P>
struct remote_signature<R (*)(P...)> {
  static_assert(!std::is_reference_v<R>, "a result of another process is a value");
  static_assert(!is_view<R>, "a view of another process's memory is not a result");
  static_assert(((!std::is_lvalue_reference_v<P> || std::is_const_v<std::remove_reference_t<P>>)&&...),
                "another process cannot write to the caller's variables: pass by value or const reference");
  using result = R;
  static constexpr std::size_t parameters = sizeof...(P);

  template <class... Args>
  static void write([[maybe_unused]] wire_writer& to, Args&&... arguments) {
    (to.write<std::remove_cvref_t<P>>(std::forward<Args>(arguments)), ...);
  }

  static void serve(wire_reader& in, wire_writer& out, any_function f) {
    std::tuple<std::remove_cvref_t<P>...> values{in.read<std::remove_cvref_t<P>>()...};
    in.end();
    const auto call = [&](auto&... value) { return reinterpret_cast<R (*)(P...)>(f)(static_cast<P&&>(value)...); };
    if constexpr (std::is_void_v<R>)
      std::apply(call, values);
    else
      out.write<R>(std::apply(call, values));
  }
};
template <class R, class... P>
struct remote_signature<R (*)(P...) noexcept> : remote_signature<R (*)(P...)> {};

template <class F>
using signature_of = remote_signature<decltype(+std::declval<F&>())>;
template <class F>
using remote_result = typename signature_of<F>::result;
template <class R>
using answer_of = std::conditional_t<std::is_void_v<R>, bool, std::optional<R>>;
template <class F>
using remote_answer = answer_of<remote_result<F>>;

template <class F>
struct remote_request final : remote_message {
  using signature = signature_of<F>;
  using result = typename signature::result;
  using answer_type = answer_of<result>;

  template <class... Args>
  explicit remote_request(F f, Args&&... arguments)
      : remote_message(&signature::serve, reinterpret_cast<any_function>(+f)) {
    static_assert(sizeof...(Args) == signature::parameters, "not as many arguments as the function has parameters");
    signature::write(out, std::forward<Args>(arguments)...);
  }
  remote_request(remote_request&&) = default;

  void accept(wire_reader& in) override {
    if constexpr (std::is_void_v<result>)
      answer = true;
    else
      answer.emplace(in.read<result>());
    in.end();
  }

  result take() {
    if constexpr (!std::is_void_v<result>) return std::move(*answer);
  }

  answer_type answer{};
};

}  // namespace detail
}  // namespace thrum
