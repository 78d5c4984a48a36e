// What range-for over something with receive() needs.
#pragma once

#include <cstddef>
#include <iterator>
#include <optional>
#include <utility>

namespace thrum::detail {

// Receives until there is nothing more.
template <class Source>
class receive_iterator {
 public:
  using iterator_category = std::input_iterator_tag;
  using value_type = typename Source::value_type;
  using difference_type = std::ptrdiff_t;
  using pointer = value_type*;
  using reference = value_type&;

  receive_iterator() = default;
  explicit receive_iterator(Source* from) : from_(from) { ++*this; }
  value_type& operator*() { return *current_; }
  value_type* operator->() { return &*current_; }
  receive_iterator& operator++() {
    current_ = std::nullopt;
    if (auto v = from_->receive())
      current_.emplace(std::move(*v));
    else
      from_ = nullptr;
    return *this;
  }
  void operator++(int) { ++*this; }
  friend bool operator==(const receive_iterator& a, const receive_iterator& b) noexcept { return a.from_ == b.from_; }

 private:
  Source* from_ = nullptr;
  std::optional<value_type> current_;
};

}  // namespace thrum::detail
