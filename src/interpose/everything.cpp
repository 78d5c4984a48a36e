// The one symbol that programs link for, and what makes it bring all sources along: an archive is searched only for
// what is missing, and what we define is there already where a sanitizer is linked.

extern "C" {

extern const char thrum_interposed_transfers;
extern const char thrum_interposed_sockets;
extern const char thrum_interposed_polls;
extern const char thrum_interposed_sleeps;
extern const char thrum_interposed_names;
extern const char thrum_interposed_processes;
extern const char thrum_interposed_locks;

extern const char* const thrum_interposition[];
const char* const thrum_interposition[] = {
    &thrum_interposed_transfers, &thrum_interposed_sockets,   &thrum_interposed_polls, &thrum_interposed_sleeps,
    &thrum_interposed_names,     &thrum_interposed_processes, &thrum_interposed_locks};

}  // extern "C"
