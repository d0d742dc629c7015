//! When the segments of a long value are merged.
//!
//! A long value is stored as a sequence of segments, each a run of consecutive
//! items. What changed is stored as new segments of one item each; these
//! functions say which neighbours to join, so that a value has few segments to
//! read while every item is rewritten only a few times. They are pure
//! arithmetic on sizes: the same sizes always give the same answer, so that
//! processes that never met cut the same value alike.

use std::ops::Range;

/// A segment, old or new: how many items it has and how many bytes they take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Number of items, at least one.
    pub items: usize,
    /// Their encoded size.
    pub bytes: usize,
}

/// How many neighbours become one segment, by how many items they have.
///
/// An item is rewritten once for each level below its segment's, and each
/// segment costs a reference in every version: with a fan-out of 32 lists of
/// less than 1,024 items are rewritten once, and longer ones twice. A list that
/// is trimmed at its beginning rewrites the segment that lost an item, but that
/// is not merged again until it has as many neighbours.
const LEVELS: [Level; 2] = [
    Level {
        items: 1..32,
        fan_out: 32,
    },
    Level {
        items: 32..1024,
        fan_out: 32,
    },
];

/// Segments of so many items, of which `fan_out` neighbours are merged.
struct Level {
    items: Range<usize>,
    fan_out: usize,
}

/// No merge makes a segment larger than this, so that a rewrite stays cheap. A
/// single item that is larger, an image say, stands alone for ever.
const LIST_SEGMENT_BYTES: usize = 1024 * 1024;

/// About what a reference to a segment costs in the record of a version, in bytes.
const REFERENCE_BYTES: usize = 16;

/// Segments of a dict are at least this large, if it has enough entries.
const DICT_SEGMENT_BYTES: usize = 512;

/// Returns which runs of a list's segments become one segment each.
///
/// Lists grow at the end, so this is a logarithmic method of two levels: as many
/// neighbours of one level as the level says become one segment of the next.
pub fn merge_list(segments: &[Segment]) -> Vec<Range<usize>> {
    let mut merged: Vec<(Range<usize>, Segment)> = Vec::with_capacity(segments.len());
    for (index, segment) in segments.iter().enumerate() {
        merged.push((index..index + 1, *segment));
        while let Some(start) = mergeable_tail(&merged) {
            let mut joined = Segment { items: 0, bytes: 0 };
            for (_, part) in &merged[start..] {
                joined.items += part.items;
                joined.bytes += part.bytes;
            }
            let first = merged[start].0.start;
            merged.truncate(start);
            merged.push((first..index + 1, joined));
        }
    }
    merged.into_iter().map(|(range, _)| range).collect()
}

/// Returns where the tail begins that makes a segment of the next level, if any.
fn mergeable_tail(merged: &[(Range<usize>, Segment)]) -> Option<usize> {
    let (_, last) = merged.last()?;
    let level = LEVELS
        .iter()
        .find(|level| level.items.contains(&last.items))?;
    let mut bytes = 0;
    let mut start = merged.len();
    for (position, (_, segment)) in merged.iter().enumerate().rev() {
        bytes += segment.bytes;
        if !level.items.contains(&segment.items) || bytes > LIST_SEGMENT_BYTES {
            break;
        }
        start = position;
    }
    (merged.len() - start >= level.fan_out).then_some(start)
}

/// Returns which runs of a dict's segments become one segment each.
///
/// Dicts change anywhere, and a change rewrites its segment; but each segment
/// costs a reference in every version. Segments of `sqrt(total * reference)`
/// bytes make the sum of both smallest. Larger entries stand alone.
pub fn merge_dict(segments: &[Segment]) -> Vec<Range<usize>> {
    let total: usize = segments.iter().map(|segment| segment.bytes).sum();
    let target = (total * REFERENCE_BYTES).isqrt().max(DICT_SEGMENT_BYTES);
    let mut merged: Vec<(Range<usize>, usize)> = Vec::new();
    for (index, segment) in segments.iter().enumerate() {
        match merged.last_mut() {
            Some((range, bytes)) if *bytes + segment.bytes <= target => {
                range.end = index + 1;
                *bytes += segment.bytes;
            }
            _ => merged.push((index..index + 1, segment.bytes)),
        }
    }
    merged.into_iter().map(|(range, _)| range).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn apply(segments: &[Segment], runs: &[Range<usize>]) -> Vec<Segment> {
        runs.iter()
            .map(|run| Segment {
                items: segments[run.clone()].iter().map(|part| part.items).sum(),
                bytes: segments[run.clone()].iter().map(|part| part.bytes).sum(),
            })
            .collect()
    }

    fn item(bytes: usize) -> Segment {
        Segment { items: 1, bytes }
    }

    fn segments() -> impl Strategy<Value = Vec<Segment>> {
        let segment =
            (1usize..400, 1usize..300_000).prop_map(|(items, bytes)| Segment { items, bytes });
        prop::collection::vec(segment, 0..200)
    }

    proptest! {
        #[test]
        fn runs_cover_every_segment_once(segments in segments()) {
            for runs in [merge_list(&segments), merge_dict(&segments)] {
                let mut next = 0;
                for run in &runs {
                    prop_assert_eq!(run.start, next);
                    prop_assert!(run.end > run.start);
                    next = run.end;
                }
                prop_assert_eq!(next, segments.len());
            }
        }

        #[test]
        fn a_merged_list_is_settled(segments in segments()) {
            let merged = apply(&segments, &merge_list(&segments));
            prop_assert!(merge_list(&merged).iter().all(|run| run.len() == 1));
        }
    }

    #[test]
    fn appending_rewrites_each_item_a_few_times_and_leaves_few_segments() {
        let mut list: Vec<Segment> = Vec::new();
        let mut written = 0;
        let mut most = 0;
        for _ in 0..4000 {
            list.push(item(500));
            let runs = merge_list(&list);
            let merged = apply(&list, &runs);
            written += 500;
            written += runs
                .iter()
                .zip(&merged)
                .filter(|(run, _)| run.len() > 1)
                .map(|(_, segment)| segment.bytes)
                .sum::<usize>();
            list = merged;
            most = most.max(list.len());
        }
        assert!(written <= 3 * 4000 * 500, "{written} bytes written");
        assert!(most <= 31 + 31 + 4000 / 1024, "{most} segments");
    }

    #[test]
    fn a_window_that_slides_rewrites_a_few_items_a_step() {
        let mut list = apply(&vec![item(500); 1000], &merge_list(&vec![item(500); 1000]));
        let mut written = 0;
        for _ in 0..2000 {
            let first = list.remove(0);
            let rest = vec![item(500); first.items - 1];
            list.splice(0..0, rest.iter().copied());
            list.push(item(500));
            let runs = merge_list(&list);
            let merged = apply(&list, &runs);
            let kept = |run: &Range<usize>| run.len() == 1 && run.start >= rest.len();
            let new = runs.iter().zip(&merged).filter(|(run, _)| !kept(run));
            written += new.map(|(_, segment)| segment.bytes).sum::<usize>();
            list = merged;
        }
        assert!(
            written / 2000 <= 20 * 500,
            "{} bytes a step",
            written / 2000
        );
    }

    #[test]
    fn appending_one_by_one_and_all_at_once_cut_alike() {
        let items = vec![item(300); 700];
        let mut list: Vec<Segment> = Vec::new();
        for part in &items {
            list.push(*part);
            list = apply(&list, &merge_list(&list));
        }
        assert_eq!(list, apply(&items, &merge_list(&items)));
    }

    #[test]
    fn a_huge_item_is_never_rewritten() {
        let mut items = vec![item(100); 8];
        items.push(item(5_000_000));
        items.extend(vec![item(100); 40]);
        let merged = apply(&items, &merge_list(&items));
        assert!(merged.contains(&item(5_000_000)));
    }

    #[test]
    fn dict_segments_balance_rewrites_and_references() {
        let files = vec![item(2000); 100];
        assert_eq!(merge_dict(&files).len(), 100);
        let settings = vec![item(30); 100];
        assert!(merge_dict(&settings).len() <= 6);
    }
}
