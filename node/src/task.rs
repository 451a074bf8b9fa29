//! The one place that spawns: every task has a name, and all of them are awaited at the end.

use std::future::Future;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How long the tasks have to end after they were told to.
const GRACE: Duration = Duration::from_secs(10);

/// The tasks of a node. Clones share them.
#[derive(Clone, Default)]
pub struct Tasks {
    tracker: TaskTracker,
    stop: CancellationToken,
}

impl Tasks {
    /// Cancelled when the node ends; every long task watches it.
    pub fn stop(&self) -> &CancellationToken {
        &self.stop
    }

    /// Runs `future` beside the others. A panic in it is logged and ends it alone.
    pub fn spawn<F: Future<Output = ()> + Send + 'static>(&self, name: &'static str, future: F) {
        self.tracker.spawn(async move {
            let inner = tokio::spawn(future);
            if inner.await.is_err_and(|error| error.is_panic()) {
                tracing::error!(task = name, "a task panicked; the others go on");
            }
        });
    }

    /// Tells all tasks to stop and waits for them; `false` if some did not within the grace period.
    pub async fn finish(&self) -> bool {
        self.stop.cancel();
        self.tracker.close();
        tokio::time::timeout(GRACE, self.tracker.wait()).await.is_ok()
    }
}

/// Blocking work (disk, hashing) off the executor. A panic in it becomes an error of the caller.
pub async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, tokio::task::JoinError> {
    tokio::task::spawn_blocking(work).await
}

/// What a blocking task gave; a panic in it goes on here, as if the work had been done in place.
pub async fn resume<T>(ended: Result<T, tokio::task::JoinError>) -> T {
    match ended.map_err(tokio::task::JoinError::try_into_panic) {
        Ok(value) => value,
        Err(Ok(panic)) => std::panic::resume_unwind(panic),
        // Aborted, as only a runtime that ends does: nobody goes on.
        Err(Err(_)) => std::future::pending().await,
    }
}
