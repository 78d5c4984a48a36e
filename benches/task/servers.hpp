// The servers of echo and c10k as tasks: one for each connection.
#pragma once
#include "../thrum_bench.hpp"

namespace task_servers {

void echo(const bench::options& o);
void c10k(const bench::options& o);

}  // namespace task_servers
