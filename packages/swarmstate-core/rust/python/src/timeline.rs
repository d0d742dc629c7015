//! `Timeline` and its activities. Marking must cost almost nothing, or it would distort the result.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use pyo3::exceptions::{PyOSError, PyValueError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};
use swarmstate_engine::timeline as engine;

/// Seconds for which a thread that was working is assumed to go on working: reading its clock is
/// slow.
const WORKS_ON: f64 = 10e-6;

/// The activities of a run; see `swarmstate.observability`.
///
/// Args:
///     clock: Returns the processor time, in seconds, used by the thread that drives the run.
///         An OSError means that the thread has ended.
///     current: The context variable that holds the current activity.
#[pyclass(frozen, subclass, module = "swarmstate._core")]
pub struct Timeline {
    clock: Py<PyAny>,
    current: Py<PyAny>,
    whole: Arc<engine::Activity>,
    started: Instant,
    /// No Python code runs while it is locked.
    log: Mutex<Log>,
}

struct Log {
    events: engine::Timeline,
    used: f64,
    used_at: f64,
}

#[pymethods]
impl Timeline {
    #[new]
    fn new(clock: Py<PyAny>, current: Py<PyAny>) -> Self {
        Self {
            clock,
            current,
            whole: engine::Activity::run(),
            started: Instant::now(),
            log: Mutex::new(Log {
                events: engine::Timeline::default(),
                used: 0.0,
                used_at: f64::NEG_INFINITY,
            }),
        }
    }

    /// Return the run itself, the root of all activities.
    fn whole(slf: &Bound<'_, Self>) -> Activity {
        Activity::new(slf.clone().unbind(), Arc::clone(&slf.get().whole))
    }

    /// Return where the time went: `(kind, seconds, busy, calls)` by path.
    ///
    /// Time that none of an activity's parts accounts for is under the activity's own path.
    fn spent<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let result = PyDict::new(py);
        let spent = self.log().events.spent();
        for (path, spent) in spent {
            let figures = (spent.kind.name(), spent.seconds, spent.busy, spent.calls);
            result.set_item(PyTuple::new(py, path)?, figures)?;
        }
        Ok(result)
    }
}

impl Timeline {
    fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn mark(
        &self,
        py: Python<'_>,
        activity: &Arc<engine::Activity>,
        goes_on: bool,
    ) -> PyResult<()> {
        let at = self.started.elapsed().as_secs_f64();
        let mut log = self.log();
        if at - log.used_at >= WORKS_ON {
            drop(log);
            let used = self.used(py)?;
            log = self.log();
            (log.used, log.used_at) = (used, at);
        }
        let used = log.used + (at - log.used_at);
        log.events.mark(at, used, Arc::clone(activity), goes_on);
        Ok(())
    }

    fn used(&self, py: Python<'_>) -> PyResult<f64> {
        match self.clock.bind(py).call0() {
            Ok(used) => used.extract(),
            Err(error) if error.is_instance_of::<PyOSError>(py) => Ok(f64::NAN),
            Err(error) => Err(error),
        }
    }
}

/// Something that happens while it is entered, in this thread or task.
///
/// It may be entered several times, one after another.
#[pyclass(frozen, module = "swarmstate._core")]
pub struct Activity {
    timeline: Py<Timeline>,
    what: Arc<engine::Activity>,
    /// The token that restores the context variable.
    token: Mutex<Option<Py<PyAny>>>,
}

impl Activity {
    fn new(timeline: Py<Timeline>, what: Arc<engine::Activity>) -> Self {
        Self {
            timeline,
            what,
            token: Mutex::default(),
        }
    }

    fn token(&self) -> MutexGuard<'_, Option<Py<PyAny>>> {
        self.token.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[pymethods]
impl Activity {
    /// The timeline of its run.
    #[getter]
    fn timeline<'py>(&self, py: Python<'py>) -> Bound<'py, Timeline> {
        self.timeline.bind(py).clone()
    }

    /// Return an activity that is part of this one.
    ///
    /// Args:
    ///     kind: The kind of its own time.
    ///     name: Its name.
    ///
    /// Raises:
    ///     ValueError: The kind does not exist.
    fn part(&self, py: Python<'_>, kind: &str, name: String) -> PyResult<Self> {
        let kind = engine::Kind::of_name(kind)
            .ok_or_else(|| PyValueError::new_err(format!("unknown activity kind {kind:?}")))?;
        Ok(Self::new(
            self.timeline.clone_ref(py),
            self.what.part(kind, name),
        ))
    }

    /// Do nothing: an activity ends on exit, unlike a measured operation.
    fn end(&self) {}

    fn __enter__(slf: &Bound<'_, Self>) -> PyResult<()> {
        let (py, this) = (slf.py(), slf.get());
        let timeline = this.timeline.get();
        // Comes first, so that nothing needs to be undone if it fails.
        timeline.mark(py, &this.what, true)?;
        let current = timeline.current.bind(py);
        let token = current.call_method1(intern!(py, "set"), (slf,))?;
        *this.token() = Some(token.unbind());
        Ok(())
    }

    fn __exit__(
        &self,
        py: Python<'_>,
        _exc_type: &Bound<'_, PyAny>,
        _exc: &Bound<'_, PyAny>,
        _traceback: &Bound<'_, PyAny>,
    ) -> PyResult<()> {
        let timeline = self.timeline.get();
        let marked = timeline.mark(py, &self.what, false);
        let token = self.token().take();
        if let Some(token) = token {
            let current = timeline.current.bind(py);
            current.call_method1(intern!(py, "reset"), (token,))?;
        }
        marked
    }
}
