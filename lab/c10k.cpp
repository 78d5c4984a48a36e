// `thrum lab c10k`: a TCP server in each model, ten thousand real connections, a slow "database" behind each
// request.

#include <fmt/format.h>

#include <algorithm>

#include "lab/child.hpp"
#include "lab/experiments.hpp"
#include "lab/failure.hpp"
#include "lab/limits.hpp"
#include "lab/service.hpp"
#include "lab/usage.hpp"

namespace thrum::lab {

const std::vector<std::string> c10k_options::all_models = {"process", "thread",       "pool", "event-loop",
                                                           "fiber",   "fiber-borrow", "task"};

namespace {

const std::vector<column> columns = {{"model", "model", unit::text},
                                     {"connections", "connections", unit::count},
                                     {"requests_per_s", "requests", unit::per_second},
                                     {"p50_us", "p50", unit::microseconds},
                                     {"p99_us", "p99", unit::microseconds},
                                     {"p999_us", "p99.9", unit::microseconds},
                                     {"rss_bytes", "server memory", unit::bytes},
                                     {"rss_bytes_each", "memory, each", unit::bytes},
                                     {"cpu_s", "server CPU", unit::seconds},
                                     {"cpu_us_op", "CPU/request", unit::microseconds},
                                     {"limit", "stopped by", unit::text}};

const std::vector<plot> plots = {
    {plot::kind::bars, "requests_per_s", "Requests answered per second", unit::per_second, false},
    {plot::kind::percentiles, "latency_us", "Time to an answer", unit::microseconds, true},
    {plot::kind::bars, "rss_bytes_each", "Server memory for each connection", unit::bytes, false},
    {plot::kind::bars, "cpu_us_op", "Server CPU time for each request", unit::microseconds, false}};

// Server and client on processors of their own, where there are several.
struct placement {
  int server = 0, client = 0;
};

placement place(const c10k_options& o) {
  int all = processors_available();
  if (all == 1) return {};
  int server = o.server_processors > 0 ? std::min(o.server_processors, all - 1) : std::max(1, all / 2);
  return {server, -(all - server)};
}

void check_possible(const c10k_options& o) {
  std::int64_t files = o.connections + 64;
  if (descriptors_max() < files)
    throw failure(
        fmt::format("{} connections need {} open files in the server and in the client, but the hard limit "
                    "(RLIMIT_NOFILE, ulimit -Hn) is {}; raise it or ask for fewer --connections",
                    o.connections, files, descriptors_max()));
  if (local_ports() < o.connections + 512)
    throw failure(
        fmt::format("{} connections need as many local ports, but net.ipv4.ip_local_port_range has {}; widen "
                    "it or ask for fewer --connections",
                    o.connections, local_ports()));
}

// One model's server and client, and what the parent sees of the server from outside.
class trial {
 public:
  trial(const std::string& model, const c10k_options& o, progress& shown)
      : model_(model),
        o_(o),
        shown_(shown),
        where_(place(o)),
        server_("c10k/" + model, server_order(), where_.server) {}

  json run() {
    int port = await_port();
    memory_before_ = memory();
    child client("c10k/client", client_order(port), where_.client);
    json row;
    while (row.is_null()) {
      auto message = client.next(child::seconds(o_.seconds + patience_s() + 30));
      if (!message) throw failure("the client ended without a result");
      row = heard(*message);
    }
    hear_limit(row);
    client.release();
    while (client.next(child::seconds(60))) {
    }
    check(row);
    return row;
  }

 private:
  json server_order() const {
    return {
        {"port", o_.port}, {"wait_ms", o_.wait_ms}, {"connections", o_.connections}, {"pool_threads", o_.pool_threads}};
  }

  // The pool needs connections / threads rounds before everybody has had a first answer.
  double patience_s() const {
    return 60 + 3.0 * static_cast<double>(o_.connections) / o_.pool_threads * o_.wait_ms / 1000.0;
  }

  json client_order(int port) const {
    return {{"port", port},
            {"connections", o_.connections},
            {"warm_up_s", 1.0},
            {"seconds", o_.seconds},
            {"patience_s", patience_s()}};
  }

  int await_port() {
    auto message = server_.next(child::seconds(30));
    if (!message || !message->contains("listening")) throw failure(fmt::format("the {} server did not start", model_));
    return (*message)["listening"].get<int>();
  }

  std::vector<pid_t> pids() const { return model_ == "process" ? family(server_.id()) : std::vector{server_.id()}; }

  double memory() const { return model_ == "process" ? proportional_bytes(pids()) : resident_bytes_peak(server_.id()); }

  // The result, once the client has one.
  json heard(json message) {
    std::string phase = message.value("phase", "");
    if (phase == "measure") cpu_before_ = cpu_seconds(pids());
    if (phase != "measured") {
      shown_.update(message.value("progress", 0.0), phase);
      return nullptr;
    }
    double cpu = cpu_seconds(pids()) - cpu_before_;
    double bytes = memory();
    message["model"] = model_;
    message["cpu_s"] = cpu;
    message["cpu_us_op"] = cpu * 1e6 / number(message, "requests");
    message["rss_bytes"] = bytes;
    message["rss_bytes_each"] = (bytes - memory_before_) / number(message, "connections");
    message.erase("phase");
    return message;
  }

  void hear_limit(json& row) {
    while (auto message = server_.next_if_any())
      if (message->contains("limit")) row["limit"] = (*message)["limit"];
  }

  void check(const json& row) const {
    if (row["corrupt"] == 0 && row["lost"] == 0) return;
    throw failure(fmt::format("the {} server gave {} wrong answers and lost {} connections", model_,
                              show(row, "corrupt", unit::count), show(row, "lost", unit::count)));
  }

  std::string model_;
  const c10k_options& o_;
  progress& shown_;
  placement where_;
  child server_;
  double memory_before_ = 0;
  double cpu_before_ = 0;
};

void add_notes(experiment& e, const c10k_options& o) {
  for (const json& row : e.rows)
    if (number(row, "refused") > 0)
      e.notes.push_back(fmt::format("the {} server held {} of {} connections.", label(row),
                                    show(row, "connections", unit::count), o.connections));
  e.notes.push_back(
      "memory of the process model is the sum of proportional shares (PSS); that of the others is resident "
      "memory (RSS); both without what the kernel holds for sockets, stacks and page tables.");
}

void add_lessons(experiment& e, const c10k_options& o) {
  const json* fiber = find_row(e, "fiber");
  const json* loop = find_row(e, "event-loop");
  if (fiber && loop)
    e.lessons.push_back(
        fmt::format("The fiber server is blocking code, like the thread server, and answered {:.2f} times as "
                    "many requests per second as the hand-written event loop ({:.2f} times its CPU per request).",
                    number(*fiber, "requests_per_s") / number(*loop, "requests_per_s"),
                    number(*fiber, "cpu_us_op") / number(*loop, "cpu_us_op")));
  if (const json* pool = find_row(e, "pool"))
    e.lessons.push_back(
        fmt::format("The pool is slow though its processor is idle: {} threads that wait {} ms each answer at "
                    "most {:.0f} requests per second; everybody else queues, for {} at the median.",
                    o.pool_threads, o.wait_ms, o.pool_threads * 1000.0 / std::max(1, o.wait_ms),
                    show(*pool, "p50_us", unit::microseconds)));
  const json* thread = find_row(e, "thread");
  if (fiber && thread)
    e.lessons.push_back(fmt::format("A connection took {} of the fiber server's memory and {} of the thread server's.",
                                    show(*fiber, "rss_bytes_each", unit::bytes),
                                    show(*thread, "rss_bytes_each", unit::bytes)));
  const json* task = find_row(e, "task");
  if (fiber && task)
    e.lessons.push_back(
        fmt::format("A connection took {} of the task server's memory, {} of it the buffer that every server has; its "
                    "CPU time per request was {:.2f} times the fiber server's.",
                    show(*task, "rss_bytes_each", unit::bytes), show(static_cast<double>(buffer_bytes), unit::bytes),
                    number(*task, "cpu_us_op") / number(*fiber, "cpu_us_op")));
}

}  // namespace

experiment run_c10k(const c10k_options& o, progress& shown) {
  check_possible(o);
  experiment e;
  e.name = "c10k";
  e.question = fmt::format("how does each kind of server serve {} connections whose requests each wait {} ms?",
                           show(static_cast<double>(o.connections), unit::count), o.wait_ms);
  placement where = place(o);
  e.parameters = {{"connections", o.connections},
                  {"seconds", o.seconds},
                  {"wait_ms", o.wait_ms},
                  {"pool_threads", o.pool_threads},
                  {"server_processors", where.server == 0 ? 1 : where.server}};
  e.columns = columns;
  e.plots = plots;
  for (const std::string& model : o.models) {
    shown.begin(fmt::format("c10k: {}", model));
    e.rows.push_back(trial(model, o, shown).run());
  }
  shown.clear();
  drop_empty_columns(e);
  add_notes(e, o);
  add_lessons(e, o);
  return e;
}

}  // namespace thrum::lab
