//! The tokio peer: the same questions as bench/*.cpp, asked of tokio's tasks.
//!
//!     tokio-peer BENCH --workers N [--quick] [--count N] [--kind WORD] [--hogs N] [--seconds S]
//!                [--port N] [--delay-ms N] [--borrow] [--buffer BYTES]
//!
//! Always the multi-threaded runtime, as #[tokio::main] gives it, with --workers worker threads; every
//! bench runs in spawned tasks, since the main future would not run on a worker. tokio has no unbuffered
//! channel: where the others use one, this uses mpsc with room for one element.

mod channels;
mod options;
mod servers;
mod switching;
mod waiting;

use options::{fail, Options};

async fn run(o: Options) {
    match o.bench.as_str() {
        "yield" => switching::yield_now(&o).await,
        "spawn_join" => switching::spawn_join(&o).await,
        "mutex" => switching::mutex(&o).await,
        "skynet" => switching::skynet(&o).await,
        "timers" => switching::timers(&o).await,
        "chan_pingpong" => channels::ping_pong(&o).await,
        "chan_throughput" => channels::throughput(&o).await,
        "select" => channels::select_four(&o).await,
        "ring" => channels::ring(&o).await,
        "parked_memory" => waiting::parked_memory(&o).await,
        "hog_fairness" => waiting::hog_fairness(&o).await,
        "echo" => servers::serve(&o, 0).await,
        "c10k" => servers::serve(&o, o.delay_ms).await,
        _ => fail(3, &format!("The tokio peer does not offer '{}'.", o.bench)),
    }
}

fn main() {
    let o = options::parse(std::env::args().skip(1));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(o.workers)
        .enable_all()
        .build()
        .unwrap_or_else(|e| fail(1, &format!("The runtime cannot start: {e}.")));
    runtime.block_on(async move {
        if tokio::spawn(run(o)).await.is_err() {
            fail(1, "The bench panicked.")
        }
    });
}
