//! The core of `@cached`: the results of calls, remembered by the values of their arguments.

use std::cell::Cell;
use std::num::NonZeroUsize;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use lru::LruCache;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString, PyTuple};

use crate::call_key::CallKey;
use crate::codec::MARK;

/// After `MARK`: a parameter that was not passed and whose default cannot be a key.
const ABSENT: u8 = 0;
/// After `MARK`: what follows are keyword arguments that are not parameters.
const NAMED: u8 = 0x7f;

/// A parameter as described by Python: its name, and a tuple of its default.
type Declared<'py> = (Option<Py<PyString>>, Option<Bound<'py, PyTuple>>);

/// A parameter of the function.
struct Parameter {
    /// The keyword for passing it; None if it is positional-only.
    name: Option<Py<PyString>>,
    /// The key of its default.
    default: Option<CallKey>,
}

struct Entry {
    value: Py<PyAny>,
    /// In seconds, by the cache's clock.
    expires: Option<f64>,
}

struct Entries {
    /// None if nothing is remembered.
    map: Option<LruCache<CallKey, Entry>>,
    hits: u64,
    misses: u64,
    evictions: u64,
}

/// Remembers the results of calls; a subclass decides what to do on a miss.
///
/// A call makes a key from its arguments, however they are passed. On a hit it returns the
/// remembered result, on a miss the result of `self._miss(key, args, kwargs)`.
///
/// Args:
///     maxsize: Maximum number of results, evicting the least recently used; None for no limit.
///     ttl: Seconds after which a result expires.
///     clock: Returns the time in seconds.
///     positional: The number of parameters that can be passed by position.
///     parameters: For each parameter, its name (None if positional-only) and a tuple of its
///         default, if it has one.
///     missing: The value that `lookup` returns if nothing is remembered.
#[pyclass(frozen, subclass, module = "swarmstate._core")]
pub struct CallCache {
    positional: usize,
    parameters: Vec<Parameter>,
    ttl: Option<f64>,
    clock: Option<Py<PyAny>>,
    started: Instant,
    missing: Py<PyAny>,
    /// While it is locked, no Python code runs and no object is dropped.
    entries: Mutex<Entries>,
}

thread_local! {
    /// A buffer for the keys made on this thread; always left empty.
    static BUFFER: Cell<CallKey> = Cell::default();
}

/// The most bytes of the buffer that are kept.
const MAX_KEPT: usize = 1 << 16;

#[pymethods]
impl CallCache {
    #[new]
    #[pyo3(signature = (*, maxsize, ttl, clock, positional, parameters, missing))]
    fn new(
        maxsize: Option<usize>,
        ttl: Option<f64>,
        clock: Option<Py<PyAny>>,
        positional: usize,
        parameters: Vec<Declared<'_>>,
        missing: Py<PyAny>,
    ) -> PyResult<Self> {
        let parameters = parameters
            .into_iter()
            .map(|(name, default)| Parameter {
                name,
                default: default.and_then(|default| {
                    let mut key = CallKey::default();
                    let value = default.get_item(0).ok()?;
                    // If the default cannot be a key, the key of a call records that the argument
                    // was omitted.
                    key.push(&value).ok().map(|()| key)
                }),
            })
            .collect();
        Ok(Self {
            positional,
            parameters,
            ttl,
            clock,
            started: Instant::now(),
            missing,
            entries: Mutex::new(Entries {
                map: NonZeroUsize::new(maxsize.unwrap_or(usize::MAX)).map(remembering),
                hits: 0,
                misses: 0,
                evictions: 0,
            }),
        })
    }

    #[pyo3(signature = (*args, **kwargs))]
    fn __call__<'py>(
        slf: &Bound<'py, Self>,
        args: &Bound<'py, PyTuple>,
        kwargs: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = slf.py();
        let this = slf.get();
        let missed = this.with_key(args, kwargs, |key| match this.find(py, key, true)? {
            Some(found) => Ok(Ok(found)),
            None => Ok(Err(key.clone_ref(py))),
        })?;
        match missed {
            Ok(found) => Ok(found.into_bound(py)),
            Err(key) => slf.call_method1(intern!(py, "_miss"), (key, args, kwargs)),
        }
    }

    /// Return the remembered result of a call, or `missing`; counts as a hit or a miss.
    fn lookup<'py>(
        &self,
        py: Python<'py>,
        args: &Bound<'py, PyTuple>,
        kwargs: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Py<PyAny>> {
        let found = self.with_key(args, kwargs, |key| self.find(py, key, true))?;
        Ok(found.unwrap_or_else(|| self.missing.clone_ref(py)))
    }

    /// Return the key of a call.
    fn key<'py>(
        &self,
        py: Python<'py>,
        args: &Bound<'py, PyTuple>,
        kwargs: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<CallKey> {
        self.with_key(args, kwargs, |key| Ok(key.clone_ref(py)))
    }

    /// Return the result remembered under a key, or `missing`, without counting a hit or a miss.
    fn peek(&self, py: Python<'_>, key: &CallKey) -> PyResult<Py<PyAny>> {
        let found = self.find(py, key, false)?;
        Ok(found.unwrap_or_else(|| self.missing.clone_ref(py)))
    }

    /// Remember a result.
    fn put(&self, py: Python<'_>, key: &CallKey, value: Py<PyAny>) -> PyResult<()> {
        let expires = match self.ttl {
            Some(ttl) => Some(self.now(py)? + ttl),
            None => None,
        };
        let mut entries = self.lock();
        let Entries { map, evictions, .. } = &mut *entries;
        let replaced = map
            .as_mut()
            .and_then(|map| map.push(key.clone_ref(py), Entry { value, expires }));
        if let Some((old, _)) = &replaced
            && old != key
        {
            *evictions += 1;
        }
        drop(entries);
        drop(replaced);
        Ok(())
    }

    /// Count a hit or a miss of an external cache.
    fn count(&self, hit: bool) {
        let mut entries = self.lock();
        if hit {
            entries.hits += 1;
        } else {
            entries.misses += 1;
        }
    }

    /// Return `(hits, misses, evictions, size)`.
    fn statistics(&self) -> (u64, u64, u64, usize) {
        let entries = self.lock();
        let size = entries.map.as_ref().map_or(0, LruCache::len);
        (entries.hits, entries.misses, entries.evictions, size)
    }

    /// Forget everything, including statistics.
    fn clear(&self) {
        drop(self.emptied());
    }

    /// A result may refer to the function that returned it.
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.missing)?;
        visit.call(&self.clock)?;
        // If another thread holds the lock, the cache is in use and so not garbage.
        if let Ok(entries) = self.entries.try_lock()
            && let Some(map) = &entries.map
        {
            map.iter()
                .try_for_each(|(_, entry)| visit.call(&entry.value))?;
        }
        Ok(())
    }

    fn __clear__(&self) {
        drop(self.emptied());
    }
}

/// Returns a cache for `size` results without allocating room for them yet.
fn remembering(size: NonZeroUsize) -> LruCache<CallKey, Entry> {
    let mut map = LruCache::unbounded();
    map.resize(size);
    map
}

impl CallCache {
    fn lock(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Take out all entries, for the caller to drop without holding a lock.
    fn emptied(&self) -> Option<LruCache<CallKey, Entry>> {
        let mut entries = self.lock();
        entries.hits = 0;
        entries.misses = 0;
        entries.evictions = 0;
        let map = entries.map.as_mut()?;
        let empty = remembering(map.cap());
        Some(std::mem::replace(map, empty))
    }

    /// Return the time in seconds. May run Python code, so never call it while holding the lock.
    fn now(&self, py: Python<'_>) -> PyResult<f64> {
        match &self.clock {
            None => Ok(self.started.elapsed().as_secs_f64()),
            Some(clock) => clock.call0(py)?.extract(py),
        }
    }

    fn find(&self, py: Python<'_>, key: &CallKey, counted: bool) -> PyResult<Option<Py<PyAny>>> {
        let now = match self.ttl {
            Some(_) => self.now(py)?,
            None => 0.0,
        };
        let mut expired = None;
        let mut entries = self.lock();
        let Entries {
            map, hits, misses, ..
        } = &mut *entries;
        let found = map.as_mut().and_then(|map| {
            let entry = map.get(key)?;
            if entry.expires.is_some_and(|expires| expires <= now) {
                expired = map.pop_entry(key);
                return None;
            }
            Some(entry.value.clone_ref(py))
        });
        if counted {
            *(if found.is_some() { hits } else { misses }) += 1;
        }
        drop(entries);
        drop(expired);
        Ok(found)
    }

    /// Make the key of a call and pass it to `used`.
    fn with_key<'py, T>(
        &self,
        args: &Bound<'py, PyTuple>,
        kwargs: Option<&Bound<'py, PyDict>>,
        used: impl FnOnce(&CallKey) -> PyResult<T>,
    ) -> PyResult<T> {
        let mut key = BUFFER.take();
        let result = self.write(&mut key, args, kwargs).and_then(|()| used(&key));
        key.clear(MAX_KEPT);
        BUFFER.set(key);
        result
    }

    /// Write one key per parameter, in order, then the keys of further arguments.
    fn write<'py>(
        &self,
        key: &mut CallKey,
        args: &Bound<'py, PyTuple>,
        kwargs: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<()> {
        let given = args.len().min(self.positional);
        for index in 0..given {
            let value = args.get_borrowed_item(index)?;
            key.push(&value)?;
        }
        let mut named = 0;
        for parameter in self.parameters.get(given..).unwrap_or_default() {
            let value = match (kwargs, &parameter.name) {
                (Some(kwargs), Some(name)) => kwargs.get_item(name)?,
                _ => None,
            };
            match (value, &parameter.default) {
                (Some(value), _) => {
                    named += 1;
                    key.push(&value)?;
                }
                (None, Some(default)) => key.extend(args.py(), default),
                (None, None) => key.push_bytes(&[MARK, ABSENT]),
            }
        }
        for index in given..args.len() {
            key.push(&args.get_item(index)?)?;
        }
        match kwargs {
            Some(kwargs) if kwargs.len() > named => self.write_unknown(key, kwargs),
            _ => Ok(()),
        }
    }

    /// Write the keyword arguments that are not parameters.
    fn write_unknown(&self, key: &mut CallKey, kwargs: &Bound<'_, PyDict>) -> PyResult<()> {
        let py = kwargs.py();
        let unknown = kwargs.copy()?;
        for parameter in &self.parameters {
            if let Some(name) = &parameter.name
                && unknown.contains(name.bind(py))?
            {
                unknown.del_item(name)?;
            }
        }
        key.push_bytes(&[MARK, NAMED]);
        key.push(unknown.as_any())
    }
}
