// The disks of a simulation (sim.hpp), and what goes wrong with them.
//
//   sim::set_disk("10.0.0.1", {.capacity = 1 << 20});    // Writes beyond it fail with errc::no_space_on_device.
//   sim::cut_power("10.0.0.1");                          // What has not been synced may be gone, or half there.
//
// Each host (sim_network.hpp) has a disk of its own, whoever is on none has that of "". At first it has the directories
// "/" and "/tmp"; relative paths begin at "/". What thrum's calls on files (file.hpp) do happens there, and never on
// the real disk: reads and writes come in pieces, and calls are interrupted (options::one_in_interrupted), as with
// sockets. There are no links, and permissions are kept but not checked.
//
// What a cut of power leaves is what POSIX promises, and not what one file system does beyond that:
// - Of a file, what was written before its last sync() or data_sync(). Each write since then is there, or not, or torn:
//   some of its sectors of 512 bytes.
// - Of names, those that were made, changed or removed before the last sync of any directory (file::open(path).sync());
//   of the later ones the first few, as journals have it: each rename is there as a whole or not at all. So a new file
//   that was synced, but whose directory was not, may be gone; and one that was renamed without having been synced may
//   be there with nothing in it.
// Files that are open then fail with errc::io_error from then on; nobody on the host is stopped: cancel the fibers that
// were its processes. A sync() that fails has lost what it was to sync, though reads still show it, as on Linux.
//
// What a file_watcher (file_watcher.hpp) tells of such a disk are the events that Linux makes, in its order; they can
// be received after a latency (options::latency_min), as what comes from a socket. A cut of power is to a watcher as if
// the disk were unmounted: all its watches end (file_change::ended), and it may watch again.
//
// The model is that of Pillai et al., "All file systems are not created equal" (OSDI 2014).
//
// Both are for fibers and tasks of a simulation: they throw std::logic_error elsewhere, and std::invalid_argument for
// what is no numeric address. Neither suspends.
#pragma once

#include <cstdint>
#include <string_view>

namespace thrum::sim {

struct disk {
  std::uint64_t capacity = UINT64_MAX;  // Bytes in all files together.
  std::uint32_t one_in_errors = 0;      // Of so many reads, writes and syncs, one fails with EIO. 0: none.
};
void set_disk(std::string_view host, const disk& d);

void cut_power(std::string_view host = "");

}  // namespace thrum::sim
