//! Decides when the segments of a long value are merged.
//!
//! A long value is stored as a sequence of segments, each a run of consecutive items. Changes are
//! stored as new one-item segments; these functions decide which neighbors to join, so that a value
//! has few segments to read while each item is rewritten only a few times. They are pure arithmetic
//! on sizes and on which segments are new. A value without known segments is always cut the same
//! way, so that processes that never met share its segments. A value that only ever grew is cut as
//! if all of it were new.

use std::ops::Range;

/// A segment, old or new: its number of items and their size in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Number of items, at least one.
    pub items: usize,
    /// Their encoded size in bytes.
    pub bytes: usize,
    /// Whether it must be stored: it did not exist before, or is part of a segment that did.
    pub is_new: bool,
}

/// How many neighbors merge into one segment; also the base of the levels.
///
/// An item is rewritten once for each level below its segment's, and each segment costs a reference
/// in every version. With a fan-out of 32, lists of fewer than 1,024 items are rewritten once and
/// longer ones twice.
const FAN_OUT: usize = 32;

/// Segments with fewer items are on the lower level; those with fewer than its square on the upper.
const LEVEL: usize = FAN_OUT;

/// This many lower-level neighbors merge even if none of them is new.
const MANY_KEPT: usize = 2 * FAN_OUT;

/// No merge makes a segment larger than this, so that rewrites stay cheap. A larger single item,
/// such as an image, stays a segment of its own.
const LIST_SEGMENT_BYTES: usize = 1024 * 1024;

/// Approximate cost in bytes of a reference to a segment in the record of a version.
const REFERENCE_BYTES: usize = 16;

/// Segments of a dict are at least this large, if it has enough entries.
const DICT_SEGMENT_BYTES: usize = 512;

/// Returns which runs of a list's segments to merge into one segment each.
///
/// Lists grow at the end, so this is a logarithmic method with two levels: as soon as a new segment
/// has enough neighbors of its level before it, they merge into one segment of the next level.
///
/// Removing an item breaks up its segment and turns the remaining items into new one-item segments.
/// A list that is trimmed at its beginning again and again would lose their merged segment on the
/// next trim. So kept segments trigger a merge only if there are `MANY_KEPT` of them, and a merge
/// takes the last segments, which will stay the longest. Editing an item can break a segment of any
/// level, and the next edit may hit its neighbor. So the upper level is merged only where the list
/// grows, with no kept segment after it, and an edit costs it only one rewrite.
pub fn merge_list(segments: &[Segment]) -> Vec<Range<usize>> {
    let growing = (segments.iter().rposition(|segment| !segment.is_new)).map_or(0, |last| last + 1);
    let mut merged: Vec<(Range<usize>, Segment)> = Vec::with_capacity(segments.len());
    for (index, segment) in segments.iter().enumerate() {
        merged.push((index..index + 1, *segment));
        while let Some(start) = mergeable_tail(&merged, index >= growing) {
            let mut joined = Segment {
                items: 0,
                bytes: 0,
                is_new: true,
            };
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

/// Returns the start of the tail that forms a segment of the next level, if any.
fn mergeable_tail(merged: &[(Range<usize>, Segment)], is_growing: bool) -> Option<usize> {
    let (_, last) = merged.last()?;
    let (level, count) = match (last.items < LEVEL, last.is_new) {
        (true, true) => (1..LEVEL, FAN_OUT),
        (true, false) => (1..LEVEL, MANY_KEPT),
        (false, true) if is_growing => (LEVEL..LEVEL * FAN_OUT, FAN_OUT),
        (false, _) => return None,
    };
    let start = merged.len().checked_sub(count)?;
    let mut bytes = 0;
    let is_mergeable = merged[start..].iter().all(|(_, segment)| {
        bytes += segment.bytes;
        level.contains(&segment.items) && bytes <= LIST_SEGMENT_BYTES
    });
    is_mergeable.then_some(start)
}

/// Returns which runs of a dict's segments to merge into one segment each.
///
/// Dicts change anywhere. A change rewrites its segment, but each segment costs a reference in
/// every version. Segments of `sqrt(total * reference)` bytes minimize the sum of both. Larger
/// entries stay segments of their own.
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
                is_new: false,
            })
            .collect()
    }

    fn item(bytes: usize) -> Segment {
        Segment {
            items: 1,
            bytes,
            is_new: true,
        }
    }

    fn kept(segment: Segment) -> Segment {
        Segment {
            is_new: false,
            ..segment
        }
    }

    /// Cuts a list once more and adds the bytes that this writes to `written`.
    fn cut(list: &[Segment], written: &mut usize) -> Vec<Segment> {
        let runs = merge_list(list);
        let cut = apply(list, &runs);
        let is_stored = |run: &Range<usize>| run.len() > 1 || list[run.start].is_new;
        let stored = runs.iter().zip(&cut).filter(|(run, _)| is_stored(run));
        *written += stored.map(|(_, segment)| segment.bytes).sum::<usize>();
        cut
    }

    /// Removes items from the beginning of a list; the rest of a broken segment is new.
    fn trim(list: &mut Vec<Segment>, mut count: usize) {
        while count > 0 {
            let first = list.remove(0);
            let left = first.items.saturating_sub(count);
            list.splice(0..0, vec![item(first.bytes / first.items); left]);
            count -= first.items - left;
        }
    }

    fn segments() -> impl Strategy<Value = Vec<Segment>> {
        let segment =
            (1usize..400, 1usize..300_000, any::<bool>()).prop_map(|(items, bytes, is_new)| {
                Segment {
                    items,
                    bytes,
                    is_new,
                }
            });
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
    fn a_window_that_slides_rewrites_a_few_items_for_each_new_one() {
        for (window, added) in [
            (40, 1),
            (50, 1),
            (50, 4),
            (63, 2),
            (64, 1),
            (100, 1),
            (1000, 1),
            (2000, 2),
        ] {
            let mut list = Vec::new();
            let mut written = 0;
            for step in 0..3000 {
                if step == 1000 {
                    written = 0;
                }
                list.extend(vec![item(500); added]);
                let items: usize = list.iter().map(|segment| segment.items).sum();
                trim(&mut list, items.saturating_sub(window));
                list = cut(&list, &mut written);
                assert!(
                    list.len() <= 5 * FAN_OUT,
                    "{window}: {} segments",
                    list.len()
                );
            }
            let per_new = written / (2000 * added * 500);
            assert!(per_new <= 6, "{window}, {added}: {per_new} items for each");
        }
    }

    #[test]
    fn an_edit_in_a_long_list_rewrites_what_lies_beside_it() {
        let mut list = cut(&vec![item(300); 4000], &mut 0);
        let mut written = 0;
        for step in 0..2000 {
            let mut left = step * 1237 % 3900;
            let mut place = 0;
            while left >= list[place].items {
                left -= list[place].items;
                place += 1;
            }
            let broken = list[place];
            list.splice(place..=place, vec![item(300); broken.items]);
            list = cut(&list, &mut written);
        }
        assert!(written / 2000 <= 40 * 300, "{} bytes", written / 2000);
        assert!(list.len() <= 4000 / 32 + 63, "{} segments", list.len());
    }

    #[test]
    fn items_that_are_removed_one_by_one_leave_few_segments() {
        let mut list = cut(&vec![item(300); 1000], &mut 0);
        while let Some(place) = list.iter().rposition(|segment| segment.items == 32) {
            list.splice(place..=place, vec![item(300); 31]);
            list = cut(&list, &mut 0);
        }
        assert!(list.len() <= 400, "{} segments", list.len());
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
        assert!(merged.contains(&kept(item(5_000_000))));
    }

    #[test]
    fn dict_segments_balance_rewrites_and_references() {
        let files = vec![item(2000); 100];
        assert_eq!(merge_dict(&files).len(), 100);
        let settings = vec![item(30); 100];
        assert!(merge_dict(&settings).len() <= 6);
    }
}
