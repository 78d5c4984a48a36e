//! The servers of the echo and c10k benches: one task for each connection, with a buffer.

use crate::options::{cpu_seconds, fail, report, Options};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::signal::unix::{signal, SignalKind};

const MESSAGE_BYTES: usize = 64;
const BACKLOG: u32 = 4096;

fn raise_file_limit() {
    // SAFETY: both calls only read and write the local structure.
    unsafe {
        let mut limit: libc::rlimit = std::mem::zeroed();
        libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit);
        limit.rlim_cur = limit.rlim_max;
        libc::setrlimit(libc::RLIMIT_NOFILE, &limit);
    }
}

pub async fn serve(o: &Options, delay_ms: u64) {
    raise_file_limit();
    tokio::spawn(report_on_sigterm());
    let cannot_bind = |e: std::io::Error| -> ! { fail(1, &format!("The port cannot be bound: {e}.")) };
    let socket = TcpSocket::new_v4().unwrap_or_else(|e| cannot_bind(e));
    socket.set_reuseaddr(true).ok();
    socket.bind(([127, 0, 0, 1], o.port).into()).unwrap_or_else(|e| cannot_bind(e));
    let listener = socket.listen(BACKLOG).unwrap_or_else(|e| cannot_bind(e));
    println!("PORT {}", listener.local_addr().map(|a| a.port()).unwrap_or(0));
    loop {
        match listener.accept().await {
            Ok((stream, _)) => drop(tokio::spawn(handle(stream, o.buffer, Duration::from_millis(delay_ms)))),
            Err(e) => fail(1, &format!("accept failed: {e}.")),
        }
    }
}

/// Echoes what comes; with a delay, each whole request waits for its "database" first.
async fn handle(mut stream: TcpStream, size: usize, delay: Duration) {
    stream.set_nodelay(true).ok();
    let mut buffer = vec![0u8; size];
    let mut held = 0;
    while let Ok(n) = stream.read(&mut buffer[held..]).await {
        if n == 0 {
            return;
        }
        held += n;
        if !delay.is_zero() {
            if held < MESSAGE_BYTES {
                continue;
            }
            tokio::time::sleep(delay).await;
        }
        if stream.write_all(&buffer[..held]).await.is_err() {
            return;
        }
        held = 0;
    }
}

async fn report_on_sigterm() {
    match signal(SignalKind::terminate()) {
        Ok(mut terminated) => {
            terminated.recv().await;
            report("", "cpu_total_s", cpu_seconds(), "s");
            std::process::exit(0)
        }
        Err(e) => fail(1, &format!("SIGTERM cannot be watched: {e}.")),
    }
}
