//! Calls into Python from threads that Python did not start.
//!
//! The threads that read and commit do not wait for the GIL, which a busy event loop releases only
//! every 5 ms. They leave their results with an `Announcer`, whose thread takes the GIL and makes
//! all calls that have accumulated.
//!
//! A thread that holds or takes the GIL during interpreter teardown aborts the process. So each
//! pending call is counted until its thread has released the GIL, and interpreter exit waits for
//! all of them: `swarmstate.disk` calls `end_callbacks` at exit.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use pyo3::prelude::*;
use swarmstate_engine::{Error, Result};

use crate::error::to_py;

/// The number of pending calls. Atomic instead of locked, because a fork could leave a lock held
/// forever.
static EXPECTED: AtomicUsize = AtomicUsize::new(0);

/// Set when the interpreter ends; no calls are accepted from then on.
static ENDED: AtomicBool = AtomicBool::new(false);

/// Counts one call as pending until dropped.
struct Expected;

impl Expected {
    fn new() -> PyResult<Self> {
        EXPECTED.fetch_add(1, Ordering::SeqCst);
        let expected = Self;
        // Checked after counting, because `end_callbacks` sets it before it reads the count.
        if ENDED.load(Ordering::SeqCst) {
            return Err(to_py(Error::Closed));
        }
        Ok(expected)
    }
}

impl Drop for Expected {
    fn drop(&mut self) {
        EXPECTED.fetch_sub(1, Ordering::SeqCst);
    }
}

/// A call to make while holding the GIL.
type Call = Box<dyn FnOnce(Python<'_>) + Send>;

/// How long an announcer's thread waits for more calls before it ends.
const PATIENCE: Duration = Duration::from_secs(5);

/// Makes calls on its own thread.
pub(crate) struct Announcer {
    shared: Arc<Shared>,
    /// The process that created it: its thread does not survive a fork.
    process: u32,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    /// Notified when there is a call or the announcer is closed.
    wake: Condvar,
}

#[derive(Default)]
struct State {
    calls: Vec<Call>,
    /// Whether a thread is making calls or waiting for them.
    is_running: bool,
    /// The last thread started; taken by the caller that waits for it to end.
    thread: Option<JoinHandle<()>>,
    /// Whether threads end when there are no calls instead of waiting for more.
    is_closed: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Every change of the state is complete before anything can panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self) {
        loop {
            let mut state = self.lock();
            if state.calls.is_empty() && !state.is_closed {
                let waited = self.wake.wait_timeout_while(state, PATIENCE, |state| {
                    state.calls.is_empty() && !state.is_closed
                });
                state = waited.unwrap_or_else(PoisonError::into_inner).0;
            }
            let calls = std::mem::take(&mut state.calls);
            if calls.is_empty() {
                state.is_running = false;
                return;
            }
            drop(state);
            // The panic was printed; others are waiting for their calls.
            let _ = catch_unwind(AssertUnwindSafe(|| make(calls)));
        }
    }
}

fn make(calls: Vec<Call>) {
    Python::attach(|py| {
        for call in calls {
            call(py);
        }
    });
}

impl Announcer {
    pub(crate) fn new() -> Self {
        Self {
            shared: Arc::default(),
            process: process::id(),
        }
    }

    /// Makes the pending calls and ends the thread. Call it without the GIL, which the thread may
    /// need. Later calls are still made.
    pub(crate) fn close(&self) {
        if self.process != process::id() {
            return;
        }
        let thread = {
            let mut state = self.shared.lock();
            state.is_closed = true;
            state.thread.take()
        };
        self.shared.wake.notify_one();
        if let Some(thread) = thread
            // A call may close the store that it came from.
            && thread.thread().id() != thread::current().id()
        {
            // A panic in the thread was caught and printed.
            let _ = thread.join();
        }
    }

    /// Returns a callback for the engine that calls `done(result, error)`, one of which is None.
    ///
    /// # Errors
    /// `StoreClosedError` if the interpreter is ending.
    pub(crate) fn callback<T: Send + 'static>(
        &self,
        done: Py<PyAny>,
        convert: impl FnOnce(Python<'_>, T) -> PyResult<Py<PyAny>> + Send + 'static,
    ) -> PyResult<impl FnOnce(Result<T>) + Send + 'static> {
        let expected = Expected::new()?;
        let shared = Arc::clone(&self.shared);
        let is_here = self.process == process::id();
        Ok(move |result: Result<T>| {
            let call: Call = Box::new(move |py| {
                let converted = result.map_err(to_py).and_then(|value| convert(py, value));
                let called = match converted {
                    Ok(value) => done.call1(py, (value, py.None())),
                    Err(error) => done.call1(py, (py.None(), error)),
                };
                if let Err(error) = called {
                    error.write_unraisable(py, Some(done.bind(py)));
                }
                drop(done);
                drop(expected);
            });
            if is_here {
                announce(&shared, call);
            } else {
                // If a thread held the lock at the fork, it does not exist here to release it.
                make(vec![call]);
            }
        })
    }
}

fn announce(shared: &Arc<Shared>, call: Call) {
    let mut state = shared.lock();
    state.calls.push(call);
    if state.is_running {
        drop(state);
        shared.wake.notify_one();
        return;
    }
    state.is_running = true;
    let thread = thread::Builder::new().name("swarmstate-announce".to_owned());
    let of_thread = Arc::clone(shared);
    match thread.spawn(move || of_thread.run()) {
        Ok(thread) => state.thread = Some(thread),
        Err(_) => {
            state.is_running = false;
            let calls = std::mem::take(&mut state.calls);
            drop(state);
            make(calls);
        }
    }
}

impl Drop for Announcer {
    fn drop(&mut self) {
        // Do not wait for the thread: it needs the GIL, which this thread may hold.
        if self.process == process::id() {
            self.shared.lock().is_closed = true;
            self.shared.wake.notify_one();
        }
    }
}

/// Waits for all promised calls; from now on, requests for further calls fail.
#[pyfunction]
pub(crate) fn end_callbacks(py: Python<'_>) {
    ENDED.store(true, Ordering::SeqCst);
    py.detach(|| {
        while EXPECTED.load(Ordering::SeqCst) > 0 {
            thread::sleep(Duration::from_millis(1));
        }
    });
}

/// Forgets the calls of the parent process, whose threads do not exist after a fork.
#[pyfunction]
pub(crate) fn forget_callbacks() {
    EXPECTED.store(0, Ordering::SeqCst);
}
