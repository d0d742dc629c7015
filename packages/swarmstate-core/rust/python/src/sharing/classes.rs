//! The classes that a proof met, and what is known of their instances.

use std::sync::Arc;

use pyo3::prelude::*;
use pyo3::types::PyType;

use crate::codec::{Plan, plan_of};
use crate::dict_version::DictVersions;

/// Classes that were met, and how their instances are written if from their fields alone.
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

    /// Whether `value` is of the class of a plan, and the plan is still that of the class.
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

    /// How many were met.
    pub(super) fn count(&self) -> usize {
        self.met.len()
    }

    /// How `value` is written, if its class was met.
    #[inline]
    pub(super) fn met(&self, value: &Bound<'py, PyAny>) -> Option<&Arc<Plan>> {
        let class = value.get_type_ptr();
        let mut met = self.met.iter();
        met.find(|(known, _)| known.as_type_ptr() == class)?
            .1
            .as_ref()
    }

    /// Whether a plan is still that of its class.
    pub(super) fn is_current(&mut self, py: Python<'py>, plan: &Arc<Plan>) -> PyResult<bool> {
        let known = self.plan(plan.class.bind(py))?;
        Ok(known.is_some_and(|known| Arc::ptr_eq(&known, plan)))
    }

    /// How instances of a class are written, if from their fields alone.
    pub(super) fn plan(&mut self, class: &Bound<'py, PyType>) -> PyResult<Option<Arc<Plan>>> {
        if let Some((_, plan)) = self.met.iter().find(|(known, _)| known.is(class)) {
            return Ok(plan.clone());
        }
        let plan = plan_of(class)?;
        self.met.push((class.clone(), plan.clone()));
        Ok(plan)
    }
}
