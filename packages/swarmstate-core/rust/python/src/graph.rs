//! `HandoffGraph`: routing by conditions.

use std::sync::{Arc, Mutex, PoisonError};

use pyo3::exceptions::{PyException, PyOverflowError, PyRuntimeError, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyString};
use swarmstate_engine::Program;
use swarmstate_engine::condition::{Condition, SyntaxError};
use swarmstate_engine::graph::{Edge, Graph, GraphError, Problem};

use crate::error::{ConditionError, GraphError as PyGraphError};
use crate::graph_host::{Constant, PythonHost};

type When = Program<Constant>;

/// The graph, with each node's name as a Python object.
#[derive(Clone, Default)]
struct State {
    graph: Graph<When>,
    names: Vec<Arc<Py<PyString>>>,
}

impl State {
    #[inline]
    fn node(&self, name: &Bound<'_, PyString>) -> PyResult<usize> {
        self.graph.node(text(name)?).map_err(graph_error)
    }
}

/// The native part of `swarmstate.HandoffGraph`.
#[pyclass(frozen, subclass, module = "swarmstate._core")]
pub(crate) struct HandoffGraph {
    allow_cycles: bool,
    /// Never locked while Python code runs, such as code called by a condition. Such code sees the
    /// state as it was at the beginning; a change makes a new state if needed.
    state: Mutex<Arc<State>>,
}

#[pymethods]
impl HandoffGraph {
    #[new]
    fn new(allow_cycles: bool) -> Self {
        Self {
            allow_cycles,
            state: Mutex::default(),
        }
    }

    /// Add a node.
    ///
    /// Raises:
    ///     GraphError: (a ValueError) The node already exists, the name is empty or not UTF-8, or
    ///         the graph is full.
    fn add_node(&self, name: Bound<'_, PyString>) -> PyResult<()> {
        let text = text(&name)?;
        self.change(|state| {
            state.graph.add_node(text)?;
            state.names.push(Arc::new(name.clone().unbind()));
            Ok(())
        })
    }

    /// Add an edge; see `add_edge`.
    fn insert_edge(
        &self,
        source: &Bound<'_, PyString>,
        target: &Bound<'_, PyString>,
        when: Option<&Bound<'_, PyAny>>,
        priority: &Bound<'_, PyAny>,
    ) -> PyResult<()> {
        let py = source.py();
        let when = when.map(|when| {
            let when = when.cast::<PyString>().map_err(|_| no_text(when))?;
            let text = when
                .to_str()
                .map_err(|_| ConditionError::new_err(no_utf8("a condition", when)))?;
            let condition = Condition::parse(text).map_err(|error| syntax_error(text, &error))?;
            let program = Program::new(&PythonHost(py), &condition)?;
            Ok::<_, PyErr>(Arc::new((condition, program)))
        });
        let when = when.transpose()?;
        let priority = priority.extract().map_err(|error: PyErr| {
            match error.is_instance_of::<PyOverflowError>(py) {
                true => PyGraphError::new_err(format!(
                    "expected a 64-bit priority, found {:.100}",
                    shown(priority)
                )),
                false => error,
            }
        })?;
        let (source, target) = (text(source)?, text(target)?);
        self.change(|state| {
            let source = state.graph.node(source)?;
            let edge = Edge {
                target: state.graph.node(target)?,
                priority,
                when,
            };
            state.graph.add_edge(source, edge, self.allow_cycles)
        })
    }

    /// Return the node that takes over from `node`; None if no edge is taken.
    fn route<'py>(
        &self,
        node: &Bound<'py, PyString>,
        state: &Bound<'py, PyAny>,
    ) -> PyResult<Option<Bound<'py, PyString>>> {
        let py = node.py();
        let known = self.state();
        let number = known.node(node)?;
        let target = next(&known.graph, &PythonHost(py), number, state)?;
        Ok(target.map(|target| known.names[target].bind(py).clone()))
    }

    /// Return the targets of all edges from `node` that are taken, in order, each once.
    fn route_all<'py>(
        &self,
        node: &Bound<'py, PyString>,
        state: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyList>> {
        let py = node.py();
        let known = self.state();
        let number = known.node(node)?;
        let mut targets = Vec::new();
        for edge in known.graph.edges(number) {
            if !targets.contains(&edge.target) && is_taken(&PythonHost(py), edge, state)? {
                targets.push(edge.target);
            }
        }
        PyList::new(
            py,
            targets.iter().map(|target| known.names[*target].bind(py)),
        )
    }

    /// Return the result of `route` for each of an iterable of states.
    fn route_many<'py>(
        &self,
        node: &Bound<'py, PyString>,
        states: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyList>> {
        let py = node.py();
        let known = self.state();
        let number = known.node(node)?;
        let host = PythonHost(py);
        let routed = PyList::empty(py);
        for state in states.try_iter()? {
            match next(&known.graph, &host, number, &state?)? {
                Some(target) => routed.append(known.names[target].bind(py))?,
                None => routed.append(py.None())?,
            }
        }
        Ok(routed)
    }

    /// Return what was tested to determine `route`'s result, edge by edge.
    ///
    /// Each entry is `(target, when, is_taken, {path: value})`, without paths that do not exist or
    /// raise an error.
    fn examine<'py>(
        &self,
        node: &Bound<'py, PyString>,
        state: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyList>> {
        let py = node.py();
        let known = self.state();
        let number = known.node(node)?;
        let host = PythonHost(py);
        let asked = PyList::empty(py);
        for edge in known.graph.edges(number) {
            let taken = is_taken(&host, edge, state)?;
            let values = PyDict::new(py);
            if let Some(when) = &edge.when {
                for (path, value) in when.1.paths(&host, state) {
                    match value {
                        Ok(Some(value)) => values.set_item(path, value)?,
                        // This error did not keep the condition from being decided.
                        Err(error) if !error.is_instance_of::<PyException>(py) => {
                            return Err(error);
                        }
                        Ok(None) | Err(_) => {}
                    }
                }
            }
            let text = edge.when.as_ref().map(|when| when.0.text());
            asked.append((known.names[edge.target].bind(py), text, taken, values))?;
            if taken {
                break;
            }
        }
        Ok(asked)
    }

    /// Return the names of all nodes, in insertion order.
    #[getter]
    fn nodes<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        PyList::new(py, self.state().names.iter().map(|name| name.bind(py)))
    }

    /// Return whether the graph has no cycles.
    fn is_dag(&self) -> bool {
        self.state().graph.is_dag()
    }

    /// Return `(source, target, when, priority)` for each edge, by source and in the order of
    /// trial.
    fn list_edges<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let known = self.state();
        let edges = PyList::empty(py);
        for (number, source) in known.names.iter().enumerate() {
            for edge in known.graph.edges(number) {
                let target = known.names[edge.target].bind(py);
                let text = edge.when.as_ref().map(|when| when.0.text());
                edges.append((source.bind(py), target, text, edge.priority))?;
            }
        }
        Ok(edges)
    }

    /// Return `(kind, node, place, other place)` for each probable mistake.
    fn problems<'py>(&self, entry: &Bound<'py, PyString>) -> PyResult<Bound<'py, PyList>> {
        let py = entry.py();
        let known = self.state();
        let entry = known.node(entry)?;
        let found = PyList::empty(py);
        for problem in known.graph.problems(entry) {
            let (kind, node, place, other) = match problem {
                Problem::Unreachable(node) => ("unreachable", node, 0, 0),
                Problem::Shadowed(node, place, by) => ("shadowed", node, place, by),
                Problem::MissingDefault(node) => ("missing_default", node, 0, 0),
                other => return Err(PyRuntimeError::new_err(format!("unknown: {other:?}"))),
            };
            found.append((kind, known.names[node].bind(py), place, other))?;
        }
        Ok(found)
    }

    /// Return the nodes of a shortest path, including both ends and ignoring conditions, or None.
    fn path<'py>(
        &self,
        source: &Bound<'py, PyString>,
        target: &Bound<'py, PyString>,
    ) -> PyResult<Option<Bound<'py, PyList>>> {
        let py = source.py();
        let known = self.state();
        let source = known.node(source)?;
        let target = known.node(target)?;
        let path = known.graph.path(source, target);
        path.map(|path| PyList::new(py, path.iter().map(|node| known.names[*node].bind(py))))
            .transpose()
    }
}

impl HandoffGraph {
    fn state(&self) -> Arc<State> {
        Arc::clone(&self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn change(&self, change: impl FnOnce(&mut State) -> Result<(), GraphError>) -> PyResult<()> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        change(Arc::make_mut(&mut state)).map_err(graph_error)
    }
}

/// Returns the target of the first edge that is taken.
#[inline]
fn next(
    graph: &Graph<When>,
    host: &PythonHost<'_>,
    node: usize,
    state: &Bound<'_, PyAny>,
) -> PyResult<Option<usize>> {
    for edge in graph.edges(node) {
        if is_taken(host, edge, state)? {
            return Ok(Some(edge.target));
        }
    }
    Ok(None)
}

#[inline]
fn is_taken(host: &PythonHost<'_>, edge: &Edge<When>, state: &Bound<'_, PyAny>) -> PyResult<bool> {
    let Some(when) = &edge.when else {
        return Ok(true);
    };
    when.1.holds(host, state).map_err(|cause| {
        // Interrupts and cancellations pass through without a mention of the condition.
        if !cause.is_instance_of::<PyException>(host.0) {
            return cause;
        }
        let text = when.0.text();
        let error = ConditionError::new_err(format!(
            "the condition {text:?} cannot be evaluated on this state: {}",
            cause.value(host.0)
        ));
        error.set_cause(host.0, Some(cause));
        error
    })
}

/// Returns the text of a name.
#[inline]
fn text<'a>(name: &'a Bound<'_, PyString>) -> PyResult<&'a str> {
    name.to_str()
        .map_err(|_| PyGraphError::new_err(no_utf8("a node name", name)))
}

fn no_utf8(what: &str, found: &Bound<'_, PyString>) -> String {
    format!("expected {what} in UTF-8, found {:.100}", shown(found))
}

fn no_text(found: &Bound<'_, PyAny>) -> PyErr {
    match found.get_type().name() {
        Ok(found) => PyTypeError::new_err(format!(
            "when must be a str such as \"amount > 100\", not {found}"
        )),
        Err(error) => error,
    }
}

/// Returns Python's display of a value; nothing if that fails.
fn shown(value: &Bound<'_, PyAny>) -> String {
    value
        .repr()
        .map(|repr| repr.to_string())
        .unwrap_or_default()
}

fn graph_error(error: GraphError) -> PyErr {
    PyGraphError::new_err(error.to_string())
}

/// Returns an error that says what is wrong and shows where.
fn syntax_error(text: &str, error: &SyntaxError) -> PyErr {
    let line: String = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    let mark = " ".repeat(error.column - 1);
    ConditionError::new_err(format!("{error}\n  {line:.1000}\n  {mark:.1000}^"))
}
