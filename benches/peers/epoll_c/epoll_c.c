// The yardstick for the servers: the event loop that one would write by hand in C.
//
// One thread, one epoll, edge-triggered, both directions registered once, events fetched in batches, one
// buffer for each connection, no allocation after accept. `echo` answers at once; `c10k` answers each
// request after a delay that is the same for all, so a queue in order of arrival is all the timer it needs.
// `mixed` has such a loop for each of --workers threads, and deals the connections out to them in turn; some
// requests compute before they are answered. `hogged_echo` has as many loops, and beside them --hogs threads for each
// that spin, or block in system calls, without end.
//
// A read that returns less than it asked for has emptied the socket, so the read that would only say
// EAGAIN is left out. That is safe as long as the event carried no hang-up: whatever arrives later brings
// a new edge. With RDHUP, HUP or ERR it reads on until the end or the error.
//
//   epoll_c echo|c10k|mixed|hogged_echo --workers N [--port N] [--delay-ms N] [--buffer BYTES] [--kind spin|syscall]
//           [--hogs N] [--quick]
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "../compute.h"

enum { backlog = 4096, message_bytes = 64, batch = 512, loops_max = 256 };

struct connection {
  int socket;
  bool end;                 // the peer has finished sending
  bool queued;              // c10k: in the queue of delayed answers
  bool stuck;               // an answer waits for room in the socket
  size_t held;              // bytes in the buffer that still have to go out
  uint64_t due_ns;          // c10k: when they may
  struct connection* next;  // c10k: the queue
  char buffer[];
};

static int epolls[loops_max], loops = 1;  // one for each thread; only `mixed` and `hogged_echo` have more than one
static int hogs;                          // hogged_echo: for each loop
static bool hogs_block;                   // instead of spinning
static size_t buffer_bytes = 1024;
static uint64_t delay_ns;                                          // c10k
static bool computes;                                              // mixed
static struct connection *queue_head, **queue_tail = &queue_head;  // c10k
static volatile sig_atomic_t terminated;

static void fail(const char* sentence) {
  fprintf(stderr, "%s\n", sentence);
  exit(2);
}

static void on_sigterm(int signal) {
  (void)signal;
  terminated = 1;
}

static uint64_t now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void watch(int epoll_fd, int fd, uint32_t events, void* data) {
  struct epoll_event event = {.events = events, .data.ptr = data};
  if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) != 0) fail("epoll_ctl refused a descriptor.");
}

static void end_connection(struct connection* c) {
  close(c->socket);
  free(c);
}

static void accept_all(int listener) {
  static int turn;
  for (;;) {
    int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) return;
    struct connection* c = malloc(sizeof *c + buffer_bytes);
    if (!c) fail("There is no memory for another connection.");
    memset(c, 0, sizeof *c);
    c->socket = fd;
    watch(epolls[turn++ % loops], fd, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, c);
  }
}

// Sends what is held. What does not fit waits for the next EPOLLOUT edge. False = the connection is gone.
static bool flush(struct connection* c) {
  ssize_t n = send(c->socket, c->buffer, c->held, MSG_NOSIGNAL);
  if (n < 0 && errno != EAGAIN && errno != EINTR) return false;
  if (n > 0) c->held -= (size_t)n;
  c->stuck = c->held > 0;
  if (c->stuck && n > 0) memmove(c->buffer, c->buffer + n, c->held);
  return true;
}

static void enqueue(struct connection* c) {
  c->due_ns = now_ns() + delay_ns;
  c->queued = true;
  c->next = NULL;
  *queue_tail = c;
  queue_tail = &c->next;
}

// echo: an answer leaves at once. c10k: a whole request starts its delay. mixed: it computes or not. False = the
// connection is gone.
static bool on_bytes(struct connection* c) {
  if (computes && c->held < message_bytes) return true;
  if (computes && !c->stuck && c->buffer[0] == THRUM_BENCH_COMPUTE) thrum_bench_compute_1ms();
  if (delay_ns == 0) return flush(c);
  if (!c->queued && !c->stuck && c->held >= message_bytes) enqueue(c);
  return true;
}

// Reads until the socket is empty, the peer has ended, or answers are stuck. False = the connection is gone.
static bool read_all(struct connection* c, uint32_t events) {
  bool hang_up = events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR);
  while (!c->end && c->held < buffer_bytes) {
    size_t room = buffer_bytes - c->held;
    ssize_t n = recv(c->socket, c->buffer + c->held, room, 0);
    if (n < 0) return errno == EAGAIN || errno == EINTR;
    if (n == 0) {
      c->end = true;
      return true;
    }
    c->held += (size_t)n;
    if (!on_bytes(c)) return false;
    if ((size_t)n < room && !hang_up) return true;
  }
  return true;
}

static void serve(struct connection* c, uint32_t events) {
  bool alive = true, stuck = c->stuck;
  if ((events & EPOLLOUT) && stuck) alive = flush(c);
  // An answer that had been stuck may have kept bytes unread, and their edge is gone: read then too.
  if (alive && (stuck || (events & ~(uint32_t)EPOLLOUT))) alive = read_all(c, events);
  // A connection in the queue is ended by the queue, which still points to it.
  if (c->queued && !alive)
    c->end = true, c->held = 0;
  else if (!c->queued && (!alive || (c->end && !c->stuck)))
    end_connection(c);
}

// Answers what is due and returns how long epoll may wait, in whole milliseconds rounded up; -1 = for ever.
static int answer_due(void) {
  if (!queue_head) return -1;
  uint64_t now = now_ns();
  while (queue_head && queue_head->due_ns <= now) {
    struct connection* c = queue_head;
    queue_head = c->next;
    if (!queue_head) queue_tail = &queue_head;
    c->queued = false;
    if ((c->held && !flush(c)) || (c->end && !c->stuck)) end_connection(c);
  }
  return queue_head ? (int)((queue_head->due_ns - now + 999999) / 1000000) : -1;
}

static int listen_on(int port) {
  int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  int on = 1;
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  setsockopt(listener, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);  // Which its connections inherit.
  struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
  a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (bind(listener, (struct sockaddr*)&a, sizeof a) != 0 || listen(listener, backlog) != 0)
    fail("The port cannot be bound.");
  socklen_t length = sizeof a;
  getsockname(listener, (struct sockaddr*)&a, &length);
  printf("PORT %u\n", ntohs(a.sin_port));
  fflush(stdout);
  return listener;
}

static void loop(int epoll_fd, int listener) {
  struct epoll_event events[batch];
  while (!terminated) {
    int n = epoll_wait(epoll_fd, events, batch, answer_due());
    for (int i = 0; i < n; i++) {
      if (events[i].data.ptr)
        serve(events[i].data.ptr, events[i].events);
      else
        accept_all(listener);
    }
  }
}

static void* second_loop(void* epoll_fd) {
  loop(*(int*)epoll_fd, -1);
  return NULL;
}

static void* hog(void* nothing) {
  while (hogs_block) {
    struct timespec fifty_ms = {0, 50000000};
    clock_nanosleep(CLOCK_MONOTONIC, 0, &fifty_ms, NULL);
  }
  for (volatile uint64_t spins = 0;; spins++) {
  }
  return nothing;
}

// The signal that ends all comes to the calling thread, which also accepts.
static void run_loops(int listener) {
  sigset_t terminate;
  sigemptyset(&terminate);
  sigaddset(&terminate, SIGTERM);
  for (int i = 0; i < loops; i++) epolls[i] = epoll_create1(EPOLL_CLOEXEC);
  pthread_sigmask(SIG_BLOCK, &terminate, NULL);
  pthread_t thread;
  for (int i = 1; i < loops; i++)
    if (pthread_create(&thread, NULL, second_loop, &epolls[i]) != 0) fail("A thread cannot be started.");
  for (int i = 0; i < loops * hogs; i++)
    if (pthread_create(&thread, NULL, hog, NULL) != 0) fail("A thread cannot be started.");
  pthread_sigmask(SIG_UNBLOCK, &terminate, NULL);
  watch(epolls[0], listener, EPOLLIN | EPOLLET, NULL);
  loop(epolls[0], listener);
}

static void print_cpu(void) {
  struct rusage u;
  getrusage(RUSAGE_SELF, &u);
  double s = (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) + 1e-6 * (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec);
  printf("{\"variant_suffix\":\"\",\"metric\":\"cpu_total_s\",\"value\":%.6f,\"unit\":\"s\"}\n", s);
}

int main(int argc, char** argv) {
  const char* bench = "";
  int port = 0, delay_ms = 100;
  for (int i = 1; i < argc; i++) {
    bool has_value = i + 1 < argc;
    if (argv[i][0] != '-')
      bench = argv[i];
    else if (!strcmp(argv[i], "--quick") || !strcmp(argv[i], "--borrow"))  // Its buffers are part of connections.
      continue;
    else if (!strcmp(argv[i], "--port") && has_value)
      port = (int)strtol(argv[++i], NULL, 10);
    else if (!strcmp(argv[i], "--delay-ms") && has_value)
      delay_ms = (int)strtol(argv[++i], NULL, 10);
    else if (!strcmp(argv[i], "--buffer") && has_value)
      buffer_bytes = (size_t)strtol(argv[++i], NULL, 10);
    else if (!strcmp(argv[i], "--kind") && has_value)
      hogs_block = strcmp(argv[++i], "spin") != 0;
    else if (!strcmp(argv[i], "--hogs") && has_value)
      hogs = (int)strtol(argv[++i], NULL, 10);
    else if (!strcmp(argv[i], "--workers") && has_value)
      loops = (int)strtol(argv[++i], NULL, 10);
    else
      fail("An option is unknown or lacks its value.");
  }
  if (!strcmp(bench, "c10k"))
    delay_ns = (uint64_t)delay_ms * 1000000u;
  else if (!strcmp(bench, "mixed"))
    computes = true;
  else if (strcmp(bench, "echo") && strcmp(bench, "hogged_echo"))
    return fprintf(stderr, "epoll_c offers echo, c10k, mixed and hogged_echo only.\n"), 3;
  const bool hogged = !strcmp(bench, "hogged_echo");
  if (!hogged) hogs = 0;
  if (loops < 1 || loops > loops_max || (loops > 1 && !computes && !hogged))
    fail("Only mixed and hogged_echo have several workers.");
  struct rlimit files;
  getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);
  struct sigaction action = {.sa_handler = on_sigterm};
  sigaction(SIGTERM, &action, NULL);
  run_loops(listen_on(port));
  print_cpu();
  return 0;
}
