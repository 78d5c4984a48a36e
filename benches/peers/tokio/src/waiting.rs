//! Benches of many or of greedy tasks: parked_memory, hog_fairness.

use crate::options::{cpu_seconds, fail, memory, report, Options};
use crate::switching::join_all;
use std::hint::black_box;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, Mutex};
use tokio::time::sleep;

/// N tasks sleep; memory is read while all of them are alive and asleep, CPU time at the end.
pub async fn parked_memory(o: &Options) {
    let n = o.scaled(1_000_000);
    let (rss0, tables0) = memory();
    let cpu0 = cpu_seconds();
    let counters = Arc::new((AtomicUsize::new(0), AtomicUsize::new(0)));
    let duration = Duration::from_secs_f64(o.seconds);
    for _ in 0..n {
        let counters = counters.clone();
        tokio::spawn(async move {
            counters.0.fetch_add(1, SeqCst);
            sleep(duration).await;
            counters.1.fetch_add(1, SeqCst);
        });
    }
    let (started, ended) = (&counters.0, &counters.1);
    while started.load(SeqCst) < n {
        sleep(Duration::from_millis(1)).await;
    }
    sleep(Duration::from_millis(500)).await;
    let (rss, tables) = memory();
    let (idle, begin) = (cpu_seconds(), Instant::now());
    sleep(Duration::from_secs(1)).await;
    let idle = 1e3 * (cpu_seconds() - idle) / begin.elapsed().as_secs_f64();
    if ended.load(SeqCst) != 0 {
        fail(1, "Some tasks ended before all had been measured: give more --seconds.")
    }
    while ended.load(SeqCst) < n {
        sleep(Duration::from_millis(10)).await;
    }
    let name = size_name(n);
    report(&name, "rss_bytes_each", (rss - rss0) / n as f64, "bytes");
    report(&name, "rss_pte_bytes_each", (rss - rss0 + tables - tables0) / n as f64, "bytes");
    report(&name, "idle_cpu_ms_s", idle, "ms/s");
    report(&name, "cpu_s", cpu_seconds() - cpu0, "s");
}

fn size_name(n: usize) -> String {
    match n {
        _ if n >= 1_000_000 && n % 1_000_000 == 0 => format!("{}m", n / 1_000_000),
        _ if n >= 1000 && n % 1000 == 0 => format!("{}k", n / 1000),
        _ => n.to_string(),
    }
}

/// Greedy tasks keep all workers busy; a ticker sleeps 1 ms in a loop. How late does it wake?
pub async fn hog_fairness(o: &Options) {
    let end = Instant::now() + Duration::from_secs_f64(o.seconds);
    let (ready, is_ready) = tokio::sync::oneshot::channel();
    let ticker = tokio::spawn(async move {
        let mut late = Vec::new();
        sleep(Duration::from_millis(1)).await;
        ready.send(()).ok();
        while Instant::now() < end {
            let begin = Instant::now();
            sleep(Duration::from_millis(1)).await;
            late.push(begin.elapsed().as_secs_f64() * 1e6 - 1000.0);
        }
        late
    });
    // The hogs start only now, so that a starved ticker shows as one very late tick.
    is_ready.await.ok();
    for _ in 0..o.hogs * o.workers {
        tokio::spawn(hog(o.kind.clone(), end));
    }
    let mut late = join_all(vec![ticker]).await.remove(0);
    late.sort_by(f64::total_cmp);
    let at = |p: f64| late.get((p * (late.len() as f64 - 1.0)) as usize).copied().unwrap_or(0.0);
    let suffix = format!("{}-{}x", o.kind, o.hogs);
    report(&suffix, "ticks", late.len() as f64, "ticks");
    report(&suffix, "p50_us", at(0.50), "us");
    report(&suffix, "p99_us", at(0.99), "us");
}

/// spin: computes. syscall: sits in 50 ms system calls. call: calls the runtime, never having to wait.
async fn hog(kind: String, end: Instant) {
    let lock = Mutex::new(());
    let (full, _receiver) = mpsc::channel(1);
    full.try_send(0).ok();
    while Instant::now() < end {
        match kind.as_str() {
            "spin" => spin(),
            "syscall" => std::thread::sleep(Duration::from_millis(50)),
            _ => {
                for _ in 0..1000 {
                    let _guard = lock.lock().await;
                    full.try_send(1).ok();
                }
            }
        }
    }
}

fn spin() {
    let mut x = 1u64;
    for _ in 0..100_000 {
        x = black_box(x.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407));
    }
}
