//! The classes met during a proof, and what is known about their instances.

use std::sync::Arc;

use pyo3::prelude::*;
use pyo3::types::PyType;

use crate::codec::{Plan, plan_of};
use crate::dict_version::DictVersions;

/// Classes met so far, with plans for those whose instances are written from their fields alone.
#[derive(Default)]
pub(super) struct Classes<'py> {
    met: Vec<(Bound<'py, PyType>, Option<Arc<Plan>>)>,
    /// Whether dicts have versions.
    pub(super) versions: Option<DictVersions>,
}

impl<'py> Classes<'py> {
    pub(super) fn new(versions: Option<DictVersions>) -> Self {
        let met = Vec::new();
        Self { met, versions }
    }

    /// Returns whether `value` is of a plan's class and the plan is still current.
    #[inline]
    pub(super) fn is_of(&mut self, value: &Bound<'py, PyAny>, plan: &Arc<Plan>) -> bool {
        if let Some(known) = self.met(value) {
            return Arc::ptr_eq(known, plan);
        }
        match self.plan(&value.get_type()) {
            Ok(Some(known)) => Arc::ptr_eq(&known, plan),
            _ => false,
        }
    }

    /// Returns how many classes were met.
    pub(super) fn count(&self) -> usize {
        self.met.len()
    }

    /// Returns the plan of the class of `value`, if that was met.
    #[inline]
    pub(super) fn met(&self, value: &Bound<'py, PyAny>) -> Option<&Arc<Plan>> {
        let class = value.get_type_ptr();
        let mut met = self.met.iter();
        met.find(|(known, _)| known.as_type_ptr() == class)?
            .1
            .as_ref()
    }

    /// Returns whether a plan is still that of its class.
    pub(super) fn is_current(&mut self, py: Python<'py>, plan: &Arc<Plan>) -> PyResult<bool> {
        let known = self.plan(plan.class.bind(py))?;
        Ok(known.is_some_and(|known| Arc::ptr_eq(&known, plan)))
    }

    /// Returns the plan of a class, if its instances are written from their fields alone.
    pub(super) fn plan(&mut self, class: &Bound<'py, PyType>) -> PyResult<Option<Arc<Plan>>> {
        if let Some((_, plan)) = self.met.iter().find(|(known, _)| known.is(class)) {
            return Ok(plan.clone());
        }
        let plan = plan_of(class)?;
        self.met.push((class.clone(), plan.clone()));
        Ok(plan)
    }
}
