//! Attackers of a soak: tasks that go on until they are stopped, and how often each thing was done.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use futures::future::BoxFuture;
use serde_json::Value;
use tokio::runtime::Handle;
use tokio::task::JoinSet;

/// One of them.
pub type Task = BoxFuture<'static, ()>;

/// How often each thing was done. Clones share it.
#[derive(Clone, Debug)]
pub struct Tally(Arc<Mutex<BTreeMap<&'static str, u64>>>);

impl Tally {
    /// Nothing of these was done yet.
    pub fn new(names: &[&'static str]) -> Self {
        Self(Arc::new(Mutex::new(names.iter().map(|name| (*name, 0)).collect())))
    }

    /// Counts so many more; how many there were before.
    pub fn add(&self, name: &'static str, count: u64) -> u64 {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let counter = counts.entry(name).or_default();
        *counter += count;
        *counter - count
    }

    pub fn of(&self, name: &'static str) -> u64 {
        self.add(name, 0)
    }

    pub fn all(&self) -> BTreeMap<&'static str, u64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Running attackers. They end when this is dropped.
pub struct Attackers {
    tasks: JoinSet<()>,
    tally: Tally,
}

impl Attackers {
    pub fn start(runtime: &Handle, tally: Tally, all: impl IntoIterator<Item = Task>) -> Self {
        let mut tasks = JoinSet::new();
        for task in all {
            tasks.spawn_on(task, runtime);
        }
        Self { tasks, tally }
    }

    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    /// Ends all of them; what they did.
    pub async fn stop(mut self) -> Value {
        self.tasks.shutdown().await;
        self.tally.all().into_iter().map(|(name, count)| (name.to_owned(), Value::from(count))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn attackers_go_on_until_they_are_stopped_and_what_they_did_is_counted() {
        let tally = Tally::new(&["done", "never"]);
        let (counting, (begun, mut has_begun)) = (tally.clone(), tokio::sync::mpsc::channel(1));
        let endless: Task = Box::pin(async move {
            counting.add("done", 2);
            begun.send(()).await.expect("it is waited for");
            std::future::pending::<()>().await;
        });
        let attackers = Attackers::start(&Handle::current(), tally.clone(), [endless]);
        has_begun.recv().await.expect("it begins");
        assert_eq!((tally.add("done", 1), attackers.tally().of("done")), (2, 3));
        assert_eq!(attackers.stop().await, serde_json::json!({ "done": 3, "never": 0 }));
    }
}
