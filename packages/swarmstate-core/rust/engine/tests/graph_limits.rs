//! A graph grows up to its limits, and a rejected change changes nothing.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;

use swarmstate_engine::condition::Condition;
use swarmstate_engine::graph::{Edge, Graph, GraphError, MAX_SIZE, Problem};

fn always(target: usize) -> Edge<()> {
    Edge {
        target,
        priority: 0,
        when: None,
    }
}

#[test]
fn nodes_are_bounded() {
    let mut graph = Graph::<()>::default();
    for number in 0..MAX_SIZE {
        graph.add_node(&number.to_string()).unwrap();
    }
    let refused = graph.add_node("one more");
    assert_eq!(refused, Err(GraphError::Full("nodes")));
    assert_eq!(graph.names().count(), MAX_SIZE);
    assert!(graph.node("one more").is_err());
}

#[test]
fn edges_of_a_node_are_bounded() {
    let mut graph = Graph::<()>::default();
    graph.add_node("from").unwrap();
    graph.add_node("to").unwrap();
    for _ in 0..MAX_SIZE {
        graph.add_edge(0, always(1), true).unwrap();
    }
    let refused = graph.add_edge(0, always(1), true);
    assert_eq!(refused, Err(GraphError::Full("edges per node")));
    assert_eq!(graph.edges(0).len(), MAX_SIZE);
    graph.add_edge(1, always(0), true).unwrap();
}

#[test]
fn problems_are_found_among_as_many_conditions_as_there_may_be() {
    let mut graph = Graph::<()>::default();
    graph.add_node("from").unwrap();
    graph.add_node("to").unwrap();
    for number in 2..MAX_SIZE {
        let condition = Condition::parse(&format!("amount > {number}")).unwrap();
        let edge = Edge {
            when: Some(Arc::new((condition, ()))),
            ..always(1)
        };
        graph.add_edge(0, edge, true).unwrap();
    }
    assert_eq!(graph.problems(0), [Problem::MissingDefault(0)]);
    let again = graph.edges(0)[17].clone();
    graph.add_edge(0, again, true).unwrap();
    graph.add_edge(0, always(1), true).unwrap();
    assert_eq!(graph.problems(0), [Problem::Shadowed(0, MAX_SIZE - 2, 17)]);
}

#[test]
fn a_long_chain_is_searched_without_recursion() {
    let mut graph = Graph::<()>::default();
    for number in 0..MAX_SIZE {
        graph.add_node(&number.to_string()).unwrap();
    }
    for number in 1..MAX_SIZE {
        graph.add_edge(number - 1, always(number), true).unwrap();
    }
    assert!(graph.is_dag());
    assert_eq!(graph.path(0, MAX_SIZE - 1).unwrap().len(), MAX_SIZE);
    assert!(graph.problems(0).is_empty());
    let closing = graph.add_edge(MAX_SIZE - 1, always(0), false);
    assert!(matches!(closing, Err(GraphError::Cycle(_))));
    assert!(graph.is_dag());
}
