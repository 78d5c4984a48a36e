// Names of functions that the dynamic linker does not know: those that a program does not export, which are
// nearly all.
#pragma once

#include <cstdint>
#include <span>

namespace thrum::context {

// Copies the (mangled) name of the function around `address`, an address inside the module that is loaded at
// `base` from the file `path`, as that file's symbol table has it. False when it has none: stripped, or not
// readable.
bool name_from_file(const char* path, const void* base, std::uintptr_t address, std::span<char> name) noexcept;

}  // namespace thrum::context
