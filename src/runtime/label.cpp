// label.hpp: bindings of one key whose values are text.
#include <thrum/label.hpp>

#include <thrum/context_value.hpp>

#include "os/report.hpp"
#include "runtime/locals.hpp"

namespace thrum {
namespace {

struct label_node final : detail::context_node {
  label_node(std::uint64_t key, std::string&& n, std::string&& v)
      : context_node(key), name(std::move(n)), value(std::move(v)) {}
  const std::string name, value;
};

constinit detail::local_key label_key;

const label_node* first_label(const detail::context_node* n) noexcept {
  while (n && n->key != label_key.number()) n = n->outer;
  return static_cast<const label_node*>(n);
}

// Whether none of those from `first` on to `l` has its name.
bool is_visible(const label_node* first, const label_node* l) noexcept {
  for (; first != l; first = first_label(first->outer))
    if (first->name == l->name) return false;
  return true;
}

template <class Use>
void for_each_visible(const label_node* first, Use use) {
  for (const auto* l = first; l; l = first_label(l->outer))
    if (is_visible(first, l)) use(*l);
}

const label_node* my_first_label() noexcept { return static_cast<const label_node*>(detail::find_context(label_key)); }

}  // namespace

label::label(std::string name, std::string value)
    : node_(new label_node(label_key.number(), std::move(name), std::move(value))) {
  detail::enter_context(node_);
}

label::~label() { detail::leave_context(node_); }

const std::string* find_label(std::string_view name) noexcept {
  for (const auto* l = my_first_label(); l; l = first_label(l->outer))
    if (l->name == name) return &l->value;
  return nullptr;
}

std::vector<std::pair<std::string, std::string>> labels() {
  std::vector<std::pair<std::string, std::string>> all;
  for_each_visible(my_first_label(), [&](const label_node& l) { all.emplace_back(l.name, l.value); });
  return all;
}

void detail::report_labels(const context_node* innermost) noexcept {
  const char* separator = " {";
  for_each_visible(first_label(innermost), [&](const label_node& l) {
    os::report("%s%.100s=%.100s", separator, l.name.c_str(), l.value.c_str());
    separator = ", ";
  });
  if (*separator == ',') os::report("}");
}

}  // namespace thrum
