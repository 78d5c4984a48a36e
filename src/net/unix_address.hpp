// Names of Unix sockets: paths, and abstract names with a leading '@'; and the files behind paths.
#pragma once

#include <string>
#include <string_view>
#include <system_error>

#include <thrum/net/socket_file.hpp>

#include "net/address.hpp"

namespace thrum::net {

address parse_unix_address(std::string_view name, std::error_code& error);
// Empty for none.
std::string unix_name(const address& a);
std::string local_unix_name_of(int fd);
std::string remote_unix_name_of(int fd);

// A new socket of this type, or -1 with `error`.
int open_unix_socket(int type, std::error_code& error) noexcept;
// Gives it the name. With `replace_stale`, a file that no socket of this type listens on goes first.
socket_file bind_unix_socket(int fd, std::string_view name, int type, bool replace_stale, std::error_code& error);

}  // namespace thrum::net
