//! A few threads that run tasks for callers who must not block.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::{self, JoinHandle};

use super::lock;

pub(super) type Task = Box<dyn FnOnce() + Send>;

/// Threads, started on demand, that run tasks in order of arrival.
///
/// Dropping it lets the threads end on their own, since the last owner may be one of them.
pub(super) struct Workers {
    name: &'static str,
    limit: usize,
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    /// Notified when there is a task or `stopping` is set.
    wake: Condvar,
}

#[derive(Default)]
struct State {
    tasks: VecDeque<Task>,
    /// Number of threads waiting for a task.
    idle: usize,
    threads: Vec<JoinHandle<()>>,
    /// No more threads start; running ones end once no tasks are left.
    stopping: bool,
}

impl Workers {
    pub(super) fn new(name: &'static str, limit: usize) -> Self {
        let shared = Shared {
            state: Mutex::default(),
            wake: Condvar::new(),
        };
        Self {
            name,
            limit,
            shared: Arc::new(shared),
        }
    }

    /// Runs a task on one of the threads, or on the current one if none can be started.
    pub(super) fn run(&self, task: Task) {
        let mut state = lock(&self.shared.state);
        if state.idle <= state.tasks.len() && state.threads.len() < self.limit && !state.stopping {
            let shared = Arc::clone(&self.shared);
            let thread = thread::Builder::new().name(self.name.to_owned());
            if let Ok(thread) = thread.spawn(move || shared.work()) {
                state.threads.push(thread);
            }
        }
        if state.threads.is_empty() {
            drop(state);
            return task();
        }
        state.tasks.push_back(task);
        drop(state);
        self.shared.wake.notify_one();
    }

    /// Lets the threads finish all tasks and waits for them to end.
    ///
    /// Must not be called from one of them.
    pub(super) fn join(&self) {
        let threads = self.stop();
        for thread in threads {
            // Tasks cannot make the thread panic, and a thread that panicked has ended too.
            let _ = thread.join();
        }
    }

    fn stop(&self) -> Vec<JoinHandle<()>> {
        let mut state = lock(&self.shared.state);
        state.stopping = true;
        let threads = std::mem::take(&mut state.threads);
        drop(state);
        self.shared.wake.notify_all();
        threads
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Shared {
    fn work(&self) {
        let mut state = lock(&self.state);
        loop {
            if let Some(task) = state.tasks.pop_front() {
                drop(state);
                // The panic was printed; the thread is needed for the next task.
                let _ = catch_unwind(AssertUnwindSafe(task));
                state = lock(&self.state);
            } else if state.stopping {
                return;
            } else {
                state.idle += 1;
                state = self
                    .wake
                    .wait(state)
                    .unwrap_or_else(std::sync::PoisonError::into_inner);
                state.idle -= 1;
            }
        }
    }
}
