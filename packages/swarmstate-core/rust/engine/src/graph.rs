//! Handoff graphs: conditions, tried in a fixed order, decide who takes over next.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::sync::Arc;

use crate::condition::Condition;

/// The maximum number of nodes in a graph, and of edges from a node.
pub const MAX_SIZE: usize = 10_000;

/// An edge; `C` is the caller's data for its condition.
#[derive(Debug)]
pub struct Edge<C> {
    /// The node it leads to.
    pub target: usize,
    /// Edges with higher priority come first.
    pub priority: i64,
    /// The condition for taking it; `None` means always.
    pub when: Option<Arc<(Condition, C)>>,
}

impl<C> Clone for Edge<C> {
    fn clone(&self) -> Self {
        Self {
            target: self.target,
            priority: self.priority,
            when: self.when.clone(),
        }
    }
}

#[derive(Debug)]
struct Node<C> {
    name: Arc<str>,
    /// By descending priority, then in insertion order.
    edges: Vec<Edge<C>>,
}

impl<C> Clone for Node<C> {
    fn clone(&self) -> Self {
        Self {
            name: Arc::clone(&self.name),
            edges: self.edges.clone(),
        }
    }
}

/// Nodes and the edges between them.
#[derive(Debug)]
pub struct Graph<C> {
    nodes: Vec<Node<C>>,
    /// Maps each name to its position in `nodes`.
    index: HashMap<Arc<str>, usize>,
}

impl<C> Clone for Graph<C> {
    fn clone(&self) -> Self {
        Self {
            nodes: self.nodes.clone(),
            index: self.index.clone(),
        }
    }
}

impl<C> Default for Graph<C> {
    fn default() -> Self {
        Self {
            nodes: Vec::new(),
            index: HashMap::new(),
        }
    }
}

/// Why a graph rejects a change or a lookup.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum GraphError {
    /// The node does not exist.
    Unknown(String),
    /// The node already exists.
    Exists(String),
    /// The name of a node is empty.
    Nameless,
    /// The edge would close this cycle.
    Cycle(Vec<Arc<str>>),
    /// There are already [`MAX_SIZE`] of these.
    Full(&'static str),
}

impl fmt::Display for GraphError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown(name) => {
                write!(
                    f,
                    "expected a node of the graph, found {name:?}; add it with add_node first"
                )
            }
            Self::Exists(name) => write!(f, "the graph already has a node {name:?}"),
            Self::Nameless => f.write_str("expected a node name, found an empty string"),
            Self::Cycle(names) => write!(
                f,
                "the edge would close the cycle {}; leave it out, or allow cycles with \
                 on_cycle=\"allow\"",
                names.join(" -> ")
            ),
            Self::Full(what) => write!(f, "expected at most {MAX_SIZE} {what}"),
        }
    }
}

impl std::error::Error for GraphError {}

/// Something that is probably a mistake.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Problem {
    /// No path leads from the entry to this node.
    Unreachable(usize),
    /// A node, the position of an edge that is never taken, and that of the edge always taken
    /// instead.
    Shadowed(usize, usize, usize),
    /// All edges of this node have conditions: if none holds, there is no route.
    MissingDefault(usize),
}

impl<C> Graph<C> {
    /// Adds a node.
    ///
    /// # Errors
    ///
    /// [`GraphError::Nameless`], [`GraphError::Exists`] or [`GraphError::Full`].
    pub fn add_node(&mut self, name: &str) -> Result<(), GraphError> {
        if name.is_empty() {
            return Err(GraphError::Nameless);
        }
        if self.index.contains_key(name) {
            return Err(GraphError::Exists(name.to_owned()));
        }
        if self.nodes.len() == MAX_SIZE {
            return Err(GraphError::Full("nodes"));
        }
        let name: Arc<str> = Arc::from(name);
        self.index.insert(Arc::clone(&name), self.nodes.len());
        self.nodes.push(Node {
            name,
            edges: Vec::new(),
        });
        Ok(())
    }

    /// Adds an edge from `source`, after those with the same or higher priority.
    ///
    /// # Errors
    ///
    /// [`GraphError::Full`], or [`GraphError::Cycle`] if cycles are not allowed.
    pub fn add_edge(
        &mut self,
        source: usize,
        edge: Edge<C>,
        allow_cycle: bool,
    ) -> Result<(), GraphError> {
        if !allow_cycle && let Some(back) = self.path(edge.target, source) {
            let names = std::iter::once(source).chain(back);
            return Err(GraphError::Cycle(
                names
                    .map(|node| Arc::clone(&self.nodes[node].name))
                    .collect(),
            ));
        }
        let edges = &mut self.nodes[source].edges;
        if edges.len() == MAX_SIZE {
            return Err(GraphError::Full("edges per node"));
        }
        let place = edges.partition_point(|known| known.priority >= edge.priority);
        edges.insert(place, edge);
        Ok(())
    }

    /// Returns the number of a node.
    ///
    /// # Errors
    ///
    /// [`GraphError::Unknown`].
    pub fn node(&self, name: &str) -> Result<usize, GraphError> {
        let found = self.index.get(name).copied();
        found.ok_or_else(|| GraphError::Unknown(name.to_owned()))
    }

    /// Returns the names of all nodes, in the order of their numbers.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.nodes.iter().map(|node| &*node.name)
    }

    /// Returns the edges of a node in the order in which they are tried.
    #[must_use]
    pub fn edges(&self, node: usize) -> &[Edge<C>] {
        &self.nodes[node].edges
    }

    /// Returns whether the graph has no cycles.
    #[must_use]
    pub fn is_dag(&self) -> bool {
        let mut entering = vec![0_usize; self.nodes.len()];
        for edge in self.nodes.iter().flat_map(|node| &node.edges) {
            entering[edge.target] += 1;
        }
        let mut free: Vec<usize> = (0..entering.len())
            .filter(|&node| entering[node] == 0)
            .collect();
        let mut removed = 0;
        while let Some(node) = free.pop() {
            removed += 1;
            for edge in self.edges(node) {
                entering[edge.target] -= 1;
                if entering[edge.target] == 0 {
                    free.push(edge.target);
                }
            }
        }
        removed == self.nodes.len()
    }

    /// Returns probable mistakes in the graph, for runs that begin at `entry`.
    #[must_use]
    pub fn problems(&self, entry: usize) -> Vec<Problem> {
        let mut problems = Vec::new();
        let (reached, _) = self.search(entry);
        for node in 0..self.nodes.len() {
            if !reached.contains(&node) {
                problems.push(Problem::Unreachable(node));
            }
            let edges = self.edges(node);
            // Maps each condition to the first edge that has it; a default edge has none.
            let mut first: HashMap<Option<String>, usize> = HashMap::new();
            for (place, edge) in edges.iter().enumerate() {
                let asked = edge.when.as_ref().map(|when| when.0.shape());
                let shadows = [first.get(&None), first.get(&asked)];
                match shadows.into_iter().flatten().min() {
                    Some(shadow) => problems.push(Problem::Shadowed(node, place, *shadow)),
                    None => {
                        first.insert(asked, place);
                    }
                }
            }
            if !edges.is_empty() && edges.iter().all(|edge| edge.when.is_some()) {
                problems.push(Problem::MissingDefault(node));
            }
        }
        problems
    }

    /// Returns the nodes of a shortest path, including both ends, ignoring conditions.
    #[must_use]
    pub fn path(&self, from: usize, to: usize) -> Option<Vec<usize>> {
        let (reached, from_where) = self.search(from);
        if !reached.contains(&to) {
            return None;
        }
        let mut path = vec![to];
        let mut node = to;
        while node != from {
            node = from_where[&node];
            path.push(node);
        }
        path.reverse();
        Some(path)
    }

    /// Returns all reachable nodes, and from which node each was first reached.
    fn search(&self, from: usize) -> (BTreeSet<usize>, HashMap<usize, usize>) {
        let mut reached = BTreeSet::new();
        let mut from_where = HashMap::new();
        if from >= self.nodes.len() {
            return (reached, from_where);
        }
        reached.insert(from);
        let mut next = std::collections::VecDeque::from([from]);
        while let Some(node) = next.pop_front() {
            for edge in self.edges(node) {
                if reached.insert(edge.target) {
                    from_where.insert(edge.target, node);
                    next.push_back(edge.target);
                }
            }
        }
        (reached, from_where)
    }
}
