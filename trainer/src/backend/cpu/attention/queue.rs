//! Threads that take tasks from a queue: those who are done sooner take more, and the long ones come first.

use std::sync::{Mutex, PoisonError};

use rayon::prelude::*;

/// Runs tasks, the greatest `work` first.
pub fn run<T: Send>(mut tasks: Vec<T>, alone: bool, work: impl Fn(&T) -> usize, run: impl Fn(T) + Sync) {
    if alone || tasks.len() == 1 {
        return tasks.into_iter().for_each(run);
    }
    tasks.sort_by_key(|task| std::cmp::Reverse(work(task)));
    let workers = tasks.len().min(rayon::current_num_threads());
    let queue = Mutex::new(tasks.into_iter());
    let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).next();
    (0..workers).into_par_iter().with_max_len(1).for_each(|_| {
        while let Some(task) = next() {
            run(task);
        }
    });
}
