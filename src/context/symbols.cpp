// Looks through .symtab of an ELF file, without memory of its own: it runs while the process dies.
#include "context/symbols.hpp"

#include <algorithm>
#include <cstddef>
#include <cstring>

#include <elf.h>
#include <fcntl.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

namespace thrum::context {
namespace {

// A file mapped for reading; nothing that it says is believed before its bounds are checked.
class mapped_file {
 public:
  explicit mapped_file(const char* path) noexcept {
    const int fd = ::open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return;
    struct stat s;
    if (::fstat(fd, &s) == 0 && s.st_size > 0) {
      size_ = static_cast<std::size_t>(s.st_size);
      void* p = ::mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, fd, 0);
      if (p != MAP_FAILED) bytes_ = static_cast<const std::byte*>(p);
    }
    ::close(fd);
  }
  ~mapped_file() {
    if (bytes_) ::munmap(const_cast<std::byte*>(bytes_), size_);
  }
  mapped_file(const mapped_file&) = delete;
  mapped_file& operator=(const mapped_file&) = delete;

  // `count` objects at the offset; empty when they do not lie in the file.
  template <class T>
  std::span<const T> at(std::size_t offset, std::size_t count) const noexcept {
    if (!bytes_ || offset > size_ || count > (size_ - offset) / sizeof(T) || offset % alignof(T) != 0) return {};
    return {static_cast<const T*>(static_cast<const void*>(bytes_ + offset)), count};
  }

 private:
  const std::byte* bytes_ = nullptr;
  std::size_t size_ = 0;
};

bool is_ours(const Elf64_Ehdr& header) noexcept {
  return std::memcmp(header.e_ident, ELFMAG, SELFMAG) == 0 && header.e_ident[EI_CLASS] == ELFCLASS64 &&
         header.e_shentsize == sizeof(Elf64_Shdr);
}

bool covers(const Elf64_Sym& s, std::uintptr_t address) noexcept {
  return ELF64_ST_TYPE(s.st_info) == STT_FUNC && address - s.st_value < s.st_size;
}

bool copy_name(std::span<const char> strings, std::size_t offset, std::span<char> out) noexcept {
  if (offset >= strings.size()) return false;
  const auto text = strings.subspan(offset);
  const auto end = std::find(text.begin(), text.end(), '\0');
  const auto length = static_cast<std::size_t>(end - text.begin());
  if (end == text.end() || length == 0 || length >= out.size()) return false;
  *std::copy(text.begin(), end, out.begin()) = '\0';
  return true;
}

// The program's own path may be relative to a directory that has been left since.
const char* path_of(const char* path, const void* base) noexcept {
  const auto program = ::getauxval(AT_PHDR) & ~std::uintptr_t{4095};
  return program == reinterpret_cast<std::uintptr_t>(base) ? "/proc/self/exe" : path;
}

}  // namespace

bool name_from_file(const char* path, const void* base, std::uintptr_t address, std::span<char> name) noexcept {
  const mapped_file file(path_of(path, base));
  const auto headers = file.at<Elf64_Ehdr>(0, 1);
  if (headers.empty() || !is_ours(headers[0])) return false;
  if (headers[0].e_type == ET_DYN) address -= reinterpret_cast<std::uintptr_t>(base);
  const auto sections = file.at<Elf64_Shdr>(headers[0].e_shoff, headers[0].e_shnum);
  for (const auto& section : sections) {
    if (section.sh_type != SHT_SYMTAB || section.sh_link >= sections.size()) continue;
    const auto& names = sections[section.sh_link];
    const auto strings = file.at<char>(names.sh_offset, names.sh_size);
    for (const auto& symbol : file.at<Elf64_Sym>(section.sh_offset, section.sh_size / sizeof(Elf64_Sym)))
      if (covers(symbol, address) && copy_name(strings, symbol.st_name, name)) return true;
  }
  return false;
}

}  // namespace thrum::context
