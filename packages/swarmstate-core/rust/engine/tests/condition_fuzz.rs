//! No text makes the condition parser panic, and every error points at its cause.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use proptest::prelude::*;
use swarmstate_engine::condition::{Condition, MAX_DEPTH, MAX_LENGTH};

/// Pieces of conditions in random order: most are invalid, many nearly valid.
fn nearly() -> impl Strategy<Value = String> {
    let piece = proptest::sample::select(vec![
        "a",
        "b.c",
        "_x",
        "a[0]",
        "a[-1]",
        "a['k']",
        "[",
        "]",
        "(",
        ")",
        ",",
        ".",
        "==",
        "!=",
        "<",
        "<=",
        ">",
        ">=",
        "=",
        "in",
        "not",
        "and",
        "or",
        "len",
        "lower(a)",
        "matches(a, '(')",
        "matches(a, 'x+')",
        "exists(",
        "startswith(a, 'b')",
        "1",
        "-1",
        "1.5e3",
        "1e999",
        "99999999999999999999",
        "'s'",
        "\"\\u00e9\"",
        "'\\ud800'",
        "'",
        "\\",
        "None",
        "True",
        "é",
        "\0",
        " ",
    ]);
    proptest::collection::vec(piece, 0..24).prop_map(|pieces| pieces.join(" "))
}

fn check(text: &str) {
    match Condition::parse(text) {
        Ok(condition) => {
            assert_eq!(condition.text(), text);
            let same = Condition::parse(&format!(" ( {text} ) ")).unwrap();
            assert_eq!(condition.shape(), same.shape());
        }
        Err(error) => {
            assert!(error.column >= 1);
            assert!(error.column <= text.chars().count() + 1);
            assert!(!error.message.is_empty());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn nearly_conditions(text in nearly()) {
        check(&text);
    }

    #[test]
    fn any_text(text in any::<String>()) {
        check(&text);
    }
}

#[test]
fn nesting_and_length_are_bounded() {
    for (open, close) in [
        ("(", ")"),
        ("[", "]"),
        ("len(", ")"),
        ("not ", ""),
        ("a[0].", "b"),
    ] {
        for times in [MAX_DEPTH - 2, MAX_DEPTH + 2, 1_500] {
            let text = format!("{}a{}", open.repeat(times), close.repeat(times));
            let _ = Condition::parse(&text);
        }
    }
    let deep = format!(
        "{}a{}",
        "(".repeat(MAX_DEPTH + 1),
        ")".repeat(MAX_DEPTH + 1)
    );
    let error = Condition::parse(&deep).unwrap_err();
    assert!(error.message.contains("levels of nesting"), "{error}");
    let long = "a or ".repeat(MAX_LENGTH / 5 + 1) + "a";
    assert!(
        Condition::parse(&long)
            .unwrap_err()
            .message
            .contains("bytes")
    );
    assert!(Condition::parse(&long[5..long.len() - 5]).is_ok());
}

#[test]
fn lists_paths_and_regular_expressions_are_bounded() {
    let list = |depth: usize| format!("a in {}{}", "[".repeat(depth), "]".repeat(depth));
    let path = |steps: usize, step: &str| format!("a{}", step.repeat(steps - 1));
    let regex = |count: usize| format!("matches(a, '(\\\\w{{{count}}}){{{count}}}')");
    for (allowed, refused, message) in [
        (list(MAX_DEPTH - 1), list(MAX_DEPTH), "levels of nesting"),
        (path(MAX_DEPTH, ".b"), path(MAX_DEPTH + 1, ".b"), "steps"),
        (path(MAX_DEPTH, "[0]"), path(MAX_DEPTH + 1, "[0]"), "steps"),
        (regex(2), regex(100), "size limit"),
    ] {
        assert!(Condition::parse(&allowed).is_ok(), "{allowed}");
        let error = Condition::parse(&refused).unwrap_err();
        assert!(error.message.contains(message), "{refused}: {error}");
    }
}

#[test]
fn errors_point_at_the_column() {
    for (text, column, message) in [
        ("", 1, "a value, a path or a function, found the end"),
        ("a = 1", 3, "expected '=='"),
        ("é == 'x", 6, "expected ' at the end of the string"),
        ("a == ", 6, "found the end"),
        ("a not b", 7, "'in' after 'not'"),
        ("a b", 3, "'and', 'or', a comparison or the end, found 'b'"),
        ("a._b", 3, "without a leading '_'"),
        ("in == a", 1, "a value"),
        ("eval(a)", 1, "one of the functions"),
        ("matches(a, '(')", 12, "invalid regular expression"),
        ("matches(a, b)", 12, "a regular expression as a string"),
        ("a[b]", 3, "a value"),
        ("(a", 3, "')'"),
        ("(1", 3, "',' or ')'"),
        ("a in (1, b)", 10, "a value"),
    ] {
        let error = Condition::parse(text).unwrap_err();
        assert_eq!(error.column, column, "{text}: {error}");
        assert!(error.message.contains(message), "{text}: {error}");
    }
}
