//! Calls into Python from threads that Python did not start.
//!
//! The threads that read and commit do not wait for the GIL, which a busy event loop gives away
//! every 5 ms only: they leave their results with an `Announcer`, whose thread takes the GIL and
//! makes all calls that have gathered by then.
//!
//! A thread that holds or takes the GIL while the interpreter is torn down aborts the process.
//! So each call that is still to be made is counted, until its thread let the GIL go, and the
//! interpreter's end waits for all of them: `swarmstate.disk` calls `end_callbacks` at exit.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use pyo3::prelude::*;
use swarmstate_engine::{Error, Result};

use crate::error::to_py;

/// Calls to be made. Atomic, not locked, because a fork could leave a lock taken for ever.
static EXPECTED: AtomicUsize = AtomicUsize::new(0);

/// Set when the interpreter ends; no call is expected from then on.
static ENDED: AtomicBool = AtomicBool::new(false);

/// Counts one call as expected until dropped.
struct Expected;

impl Expected {
    fn new() -> PyResult<Self> {
        EXPECTED.fetch_add(1, Ordering::SeqCst);
        let expected = Self;
        // Looked at after counting: `end_callbacks` sets it before it looks at the count.
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

/// A call to be made with the GIL.
type Call = Box<dyn FnOnce(Python<'_>) + Send>;

/// How long the thread of an announcer waits for more calls before it ends.
const PATIENCE: Duration = Duration::from_secs(5);

/// Makes calls on a thread of its own.
pub(crate) struct Announcer {
    shared: Arc<Shared>,
    /// Where it was made. Its thread does not survive a fork.
    process: u32,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    /// Notified when there is a call, or when the announcer was closed.
    wake: Condvar,
}

#[derive(Default)]
struct State {
    calls: Vec<Call>,
    /// A thread makes the calls, or waits for some.
    is_running: bool,
    /// The thread that was started last; taken by who waits for its end.
    thread: Option<JoinHandle<()>>,
    /// Threads end when there is no call, instead of waiting for one.
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
            // The panic was printed; others wait for their calls.
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

    /// Makes what calls there are and ends the thread; to be called without the GIL, which the
    /// thread may need. Calls that come later are made all the same.
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
            // A call may close the store that announces it.
            && thread.thread().id() != thread::current().id()
        {
            // A panic in it was caught and printed.
            let _ = thread.join();
        }
    }

    /// Returns the engine's callback that calls `done(result, error)`, one of the two being None.
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
                // Whatever thread held the lock at the fork, it is not here to release it.
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
        // Without waiting for the thread: this may hold the GIL, which that needs.
        if self.process == process::id() {
            self.shared.lock().is_closed = true;
            self.shared.wake.notify_one();
        }
    }
}

/// Waits for all calls that were promised; whoever wants another one gets an error.
#[pyfunction]
pub(crate) fn end_callbacks(py: Python<'_>) {
    ENDED.store(true, Ordering::SeqCst);
    py.detach(|| {
        while EXPECTED.load(Ordering::SeqCst) > 0 {
            thread::sleep(Duration::from_millis(1));
        }
    });
}

/// Forgets the calls of the process that this one was forked from, whose threads are not here.
#[pyfunction]
pub(crate) fn forget_callbacks() {
    EXPECTED.store(0, Ordering::SeqCst);
}
