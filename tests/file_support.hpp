// What tests of files share: a directory that goes with them, and bytes of text.
#pragma once

#include <cstddef>
#include <cstdlib>
#include <filesystem>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>

#include <thrum/file.hpp>

#include "file/kernel.hpp"

namespace thrum::test {

class scratch_directory {
 public:
  scratch_directory() : path_((std::filesystem::temp_directory_path() / "thrum-XXXXXX").string()) {
    if (is_simulated())
      make_simulated();
    else if (!::mkdtemp(path_.data()))
      throw std::runtime_error("no temporary directory");
  }
  ~scratch_directory() {
    if (is_simulated()) return;  // It ends with the disk.
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  scratch_directory(const scratch_directory&) = delete;
  scratch_directory& operator=(const scratch_directory&) = delete;

  const std::string& path() const noexcept { return path_; }
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }
  static bool has_links() noexcept { return !is_simulated(); }

 private:
  static bool is_simulated() noexcept { return files::kernel::own() != nullptr; }
  // The first that is free.
  void make_simulated() {
    const auto prefix = path_.substr(0, path_.find('X'));
    auto error = std::make_error_code(std::errc::file_exists);
    for (int i = 0; error == std::errc::file_exists; ++i) make_directory(path_ = prefix + std::to_string(i), error);
    if (error) throw std::system_error(error, "no simulated temporary directory");
  }

  std::string path_;
};

template <class Chars>
auto room(Chars& chars) noexcept {
  return std::as_writable_bytes(std::span(chars));
}
template <class Chars>
std::string_view text(const Chars& chars, std::size_t size) noexcept {
  return std::string_view(chars.data(), size);
}

}  // namespace thrum::test
