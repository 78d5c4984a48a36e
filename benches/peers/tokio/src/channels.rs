//! Benches of channels: chan_pingpong, chan_throughput, select, ring.

use crate::options::{fail, measure, Options};
use crate::switching::join_all;
use std::sync::Arc;
use tokio::sync::{mpsc, Mutex};

/// One operation is one round trip over two channels.
pub async fn ping_pong(o: &Options) {
    measure("", o.scaled(1_000_000), |n| async move {
        let (there_tx, mut there) = mpsc::channel::<usize>(1);
        let (back_tx, mut back) = mpsc::channel::<usize>(1);
        let ping = tokio::spawn(async move {
            for i in 0..n {
                there_tx.send(i).await.ok();
                if back.recv().await != Some(i) {
                    fail(1, "ping-pong got the wrong value back.")
                }
            }
        });
        let pong = tokio::spawn(async move {
            while let Some(v) = there.recv().await {
                back_tx.send(v).await.ok();
            }
        });
        join_all(vec![ping, pong]).await;
    })
    .await
}

/// Producers and consumers share one channel of 128 elements. tokio's has one receiver only: with four
/// consumers they share it under a lock, as its documentation advises.
pub async fn throughput(o: &Options) {
    measure("1x1", o.scaled(5_000_000), |n| pump(n, 1)).await;
    measure("4x4", o.scaled(5_000_000), |n| pump(n, 4)).await;
}

async fn pump(n: usize, pairs: usize) {
    let (tx, rx) = mpsc::channel::<usize>(128);
    let each = n / pairs;
    for _ in 0..pairs {
        let tx = tx.clone();
        tokio::spawn(async move {
            for i in 0..each {
                tx.send(i).await.ok();
            }
        });
    }
    drop(tx);
    let sums = match pairs {
        1 => vec![drain(rx).await],
        _ => {
            let shared = Arc::new(Mutex::new(rx));
            join_all((0..pairs).map(|_| tokio::spawn(drain_shared(shared.clone()))).collect()).await
        }
    };
    if sums.iter().sum::<usize>() != pairs * (each * each.saturating_sub(1) / 2) {
        fail(1, "chan_throughput lost a message.")
    }
}

async fn drain(mut rx: mpsc::Receiver<usize>) -> usize {
    let mut sum = 0;
    while let Some(v) = rx.recv().await {
        sum += v;
    }
    sum
}

async fn drain_shared(rx: Arc<Mutex<mpsc::Receiver<usize>>>) -> usize {
    let mut sum = 0;
    loop {
        let next = rx.lock().await.recv().await;
        match next {
            Some(v) => sum += v,
            None => return sum,
        }
    }
}

/// Four producers, each with a channel of its own; one consumer selects over the four.
pub async fn select_four(o: &Options) {
    measure("", o.scaled(2_000_000), |n| async move {
        let each = n / 4;
        let produce = |tx: mpsc::Sender<usize>| async move {
            for k in 0..each {
                tx.send(k).await.ok();
            }
        };
        let (ta, mut a) = mpsc::channel(1);
        let (tb, mut b) = mpsc::channel(1);
        let (tc, mut c) = mpsc::channel(1);
        let (td, mut d) = mpsc::channel(1);
        for tx in [ta, tb, tc, td] {
            tokio::spawn(produce(tx));
        }
        let mut sum = 0;
        for _ in 0..each * 4 {
            sum += tokio::select! {
                Some(v) = a.recv() => v,
                Some(v) = b.recv() => v,
                Some(v) = c.recv() => v,
                Some(v) = d.recv() => v,
                else => fail(1, "select lost a message."),
            };
        }
        if sum != 4 * (each * each.saturating_sub(1) / 2) {
            fail(1, "select lost a message.")
        }
    })
    .await
}

/// A thousand tasks in a ring pass one token on; one operation is one hop.
pub async fn ring(o: &Options) {
    const NODES: usize = 1000;
    measure("", o.scaled(2_000_000), |n| async move {
        let laps = n / NODES + 1;
        let (first, mut link) = mpsc::channel::<usize>(1);
        for _ in 0..NODES - 1 {
            let (out, next) = mpsc::channel(1);
            tokio::spawn(ring_node(link, out));
            link = next;
        }
        let last = tokio::spawn(async move {
            let mut token = 0;
            for _ in 0..laps {
                first.send(token).await.ok();
                token = link.recv().await.unwrap_or(0);
            }
            token
        });
        if join_all(vec![last]).await[0] != laps * (NODES - 1) {
            fail(1, "The ring's token lost a hop.")
        }
    })
    .await
}

async fn ring_node(mut link: mpsc::Receiver<usize>, out: mpsc::Sender<usize>) {
    while let Some(token) = link.recv().await {
        out.send(token + 1).await.ok();
    }
}
