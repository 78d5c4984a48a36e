//! The command line, the JSON lines, and what the kernel says about this process.

use std::future::Future;
use std::str::FromStr;
use std::time::Instant;

#[derive(Clone)]
pub struct Options {
    pub bench: String,
    pub workers: usize,
    pub quick: bool,
    pub count: usize,
    pub kind: String,
    pub hogs: usize,
    pub seconds: f64,
    pub port: u16,
    pub delay_ms: u64,
    pub buffer: usize,
}

impl Options {
    /// A tenth of the work with --quick; --count overrides both.
    pub fn scaled(&self, full: usize) -> usize {
        match (self.count, self.quick) {
            (0, true) => full / 10,
            (0, false) => full,
            (count, _) => count,
        }
    }
}

pub fn fail(status: i32, sentence: &str) -> ! {
    eprintln!("{sentence}");
    std::process::exit(status)
}

fn number<T: FromStr>(name: &str, text: &str) -> T {
    text.parse().unwrap_or_else(|_| fail(2, &format!("{name} needs a number, but got '{text}'.")))
}

fn set(o: &mut Options, name: &str, value: &str) {
    match name {
        "--workers" => o.workers = number(name, value),
        "--count" => o.count = number(name, value),
        "--kind" => o.kind = value.to_string(),
        "--hogs" => o.hogs = number(name, value),
        "--seconds" => o.seconds = number(name, value),
        "--port" => o.port = number(name, value),
        "--delay-ms" => o.delay_ms = number(name, value),
        "--buffer" => o.buffer = number(name, value),
        _ => fail(2, &format!("There is no option '{name}'.")),
    }
}

pub fn parse(mut words: impl Iterator<Item = String>) -> Options {
    let mut o = Options {
        bench: String::new(),
        workers: 1,
        quick: false,
        count: 0,
        kind: "spin".to_string(),
        hogs: 1,
        seconds: 3.0,
        port: 0,
        delay_ms: 100,
        buffer: 1024,
    };
    while let Some(word) = words.next() {
        match word.as_str() {
            "--quick" => o.quick = true,
            "--borrow" => {} // only thrum's server makes this difference
            name if !name.starts_with("--") => o.bench = word,
            name => match words.next() {
                Some(value) => set(&mut o, name, &value),
                None => fail(2, &format!("{name} needs a value.")),
            },
        }
    }
    o
}

pub fn report(suffix: &str, metric: &str, value: f64, unit: &str) {
    println!("{{\"variant_suffix\":\"{suffix}\",\"metric\":\"{metric}\",\"value\":{value:.6},\"unit\":\"{unit}\"}}");
}

/// Warms up with a tenth of the operations, then measures one run.
pub async fn measure<F, Fut>(suffix: &str, operations: usize, work: F)
where
    F: Fn(usize) -> Fut,
    Fut: Future<Output = ()>,
{
    work(operations / 10 + 1).await;
    let start = Instant::now();
    work(operations).await;
    report(suffix, "ns_op", start.elapsed().as_nanos() as f64 / operations as f64, "ns");
}

pub fn cpu_seconds() -> f64 {
    // SAFETY: an all-zero rusage is valid, and getrusage only writes to it.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_SELF, &mut usage);
        usage
    };
    let seconds = |t: libc::timeval| t.tv_sec as f64 + t.tv_usec as f64 * 1e-6;
    seconds(usage.ru_utime) + seconds(usage.ru_stime)
}

/// Resident bytes and page-table bytes of this process.
pub fn memory() -> (f64, f64) {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let field = |name: &str| -> f64 {
        let line = status.lines().find(|l| l.starts_with(name));
        let kib = line.and_then(|l| l.split_whitespace().nth(1)).and_then(|v| v.parse::<f64>().ok());
        kib.unwrap_or(0.0) * 1024.0
    };
    (field("VmRSS:"), field("VmPTE:"))
}
