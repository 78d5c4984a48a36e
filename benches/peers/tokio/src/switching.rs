//! Benches of the scheduler itself: yield, spawn_join, mutex, skynet, timers.

use crate::options::{fail, measure, Options};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, Mutex};
use tokio::task::JoinHandle;

pub async fn join_all<T>(tasks: Vec<JoinHandle<T>>) -> Vec<T> {
    let mut results = Vec::with_capacity(tasks.len());
    for t in tasks {
        results.push(t.await.unwrap_or_else(|_| fail(1, "A task panicked.")));
    }
    results
}

/// Eight tasks yield in a loop; one operation is one yield.
pub async fn yield_now(o: &Options) {
    measure("", o.scaled(4_000_000), |n| async move {
        let one = move || async move {
            for _ in 0..n / 8 {
                tokio::task::yield_now().await;
            }
        };
        join_all((0..8).map(|_| tokio::spawn(one())).collect()).await;
    })
    .await
}

/// One at a time: start one, wait for its end. Batch: start a thousand, wait for all.
pub async fn spawn_join(o: &Options) {
    measure("", o.scaled(1_000_000), |n| spawn_rounds(n, 1)).await;
    measure("batch", o.scaled(1_000_000), |n| spawn_rounds(n, 1000)).await;
}

async fn spawn_rounds(n: usize, batch: usize) {
    for _ in 0..n / batch + 1 {
        if batch == 1 {
            tokio::spawn(async {}).await.ok();
        } else {
            join_all((0..batch).map(|_| tokio::spawn(async {})).collect()).await;
        }
    }
}

/// Eight tasks increment one counter under one asynchronous lock.
pub async fn mutex(o: &Options) {
    measure("", o.scaled(8_000_000), |n| async move {
        let counter = Arc::new(Mutex::new(0usize));
        let contend = |counter: Arc<Mutex<usize>>| async move {
            for _ in 0..n / 8 {
                *counter.lock().await += 1;
            }
        };
        join_all((0..8).map(|_| tokio::spawn(contend(counter.clone()))).collect()).await;
        if *counter.lock().await != n / 8 * 8 {
            fail(1, "The mutex lost an increment.")
        }
    })
    .await
}

/// A tree of tasks with ten children each, summing the numbers of the leaves over channels.
pub async fn skynet(o: &Options) {
    measure("", o.scaled(1_000_000), |leaves| async move {
        let mut size = 1;
        while size < leaves {
            size *= 10;
        }
        let (tx, mut rx) = mpsc::channel(1);
        tokio::spawn(skynet_node(tx, 0, size));
        if rx.recv().await != Some(size * (size - 1) / 2) {
            fail(1, "skynet computed a wrong sum.")
        }
    })
    .await
}

fn skynet_node(result: mpsc::Sender<usize>, first: usize, size: usize) -> Pin<Box<dyn Future<Output = ()> + Send>> {
    Box::pin(async move {
        if size == 1 {
            result.send(first).await.ok();
            return;
        }
        let (tx, mut rx) = mpsc::channel(1);
        for i in 0..10 {
            tokio::spawn(skynet_node(tx.clone(), first + i * size / 10, size / 10));
        }
        let mut sum = 0;
        for _ in 0..10 {
            sum += rx.recv().await.unwrap_or(0);
        }
        result.send(sum).await.ok();
    })
}

/// A thousand tasks wait for data with a time limit of one hour; the data come before it each time.
/// `raw` creates a bare timer, polls it once so that it is registered, and drops it.
pub async fn timers(o: &Options) {
    measure("", o.scaled(1_000_000), timed_waits).await;
    measure("raw", o.scaled(1_000_000), |n| async move {
        for _ in 0..n {
            tokio::select! {
                biased;
                _ = tokio::time::sleep(Duration::from_secs(3600)) => fail(1, "An hour has passed too early."),
                _ = std::future::ready(()) => {}
            }
        }
    })
    .await;
}

async fn timed_waits(n: usize) {
    const WAITERS: usize = 1000;
    let rounds = n / WAITERS + 1;
    let mut inboxes = Vec::new();
    let mut tasks = Vec::new();
    for _ in 0..WAITERS {
        let (tx, mut rx) = mpsc::channel::<usize>(1);
        inboxes.push(tx);
        tasks.push(tokio::spawn(async move {
            for _ in 0..rounds {
                if tokio::time::timeout(Duration::from_secs(3600), rx.recv()).await.is_err() {
                    fail(1, "A limit of one hour has passed too early.")
                }
            }
        }));
    }
    for r in 0..rounds {
        for tx in &inboxes {
            tx.send(r).await.ok();
        }
    }
    join_all(tasks).await;
}
