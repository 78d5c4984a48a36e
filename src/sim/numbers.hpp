// Whose a descriptor's number is: the kernel's, the simulated disks' or the network's. Nobody takes another's.
#pragma once

namespace thrum::sim {

inline constexpr int first_file_number = 1 << 29, first_socket_number = 1 << 30;

constexpr bool is_kernels(int fd) noexcept { return fd >= 0 && fd < first_file_number; }
constexpr bool is_files(int fd) noexcept { return fd >= first_file_number && fd < first_socket_number; }

}  // namespace thrum::sim
